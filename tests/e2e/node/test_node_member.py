"""The agent as a member of a real cluster: Node, volumes, NodePorts, room, and what is away for a while."""

import contextlib
import socket
import ssl
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e.control_plane.api import STRATEGIC
from e2e.control_plane.objects import NODE
from e2e.scenarios.disk import LoopDisk

from .cluster import CORE, PROBE, Cluster, conditions
from .support import answers, free_port, until

pytestmark = pytest.mark.timeout(600)


def test_the_node_registers_with_its_gpus(cluster: Cluster) -> None:
    node = cluster.plane.api.get(f"/api/v1/nodes/{NODE}") or {}
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "2"
    assert (node["status"]["capacity"]["cpu"], node["status"]["capacity"]["memory"]) == ("96", "384Gi")
    assert conditions(node)["Ready"] == "True"
    lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/" + NODE
    first = (cluster.plane.api.get(lease) or {})["spec"]["renewTime"]
    until(lambda: (cluster.plane.api.get(lease) or {})["spec"]["renewTime"] > first, "a heartbeat")


def test_many_clients_through_a_node_port_at_once(cluster: Cluster) -> None:
    port = free_port() % 2768 + 30000
    probe = {"readinessProbe": {"tcpSocket": {"port": 30000}, **PROBE}}
    script = "mkdir -p /www; seq 1 150000 >/www/big; exec httpd -f -p 30000 -h /www"
    name = cluster.pod("many", script, probe)
    ports = [{"port": 30000, "nodePort": port}]
    spec = {"type": "NodePort", "selector": {"app": name}, "ports": ports}
    cluster.plane.api.send(
        "POST", f"{CORE}/services", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
    )
    cluster.ready(name)
    until(lambda: answers(port), "the NodePort to open")
    whole = b"".join(b"%d\n" % n for n in range(1, 150001))

    def ask(_number: int) -> bool:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/big", timeout=60) as answer:
            return bool(answer.read() == whole)

    with ThreadPoolExecutor(64) as pool:
        assert all(pool.map(ask, range(256)))
    cluster.plane.api.call("DELETE", f"{CORE}/services/{name}")
    cluster.delete(name)


def test_volumes_that_cannot_be_made(cluster: Cluster) -> None:
    volume = {"name": "cfg", "configMap": {"name": "later"}}
    mount = {"volumeMounts": [{"name": "cfg", "mountPath": "/cfg"}]}
    name = cluster.pod("mounts", "cat /cfg/key; sleep 100", mount, volumes=[volume])
    text = 'MountVolume.SetUp failed for volume "cfg" : configmap "later" not found'
    until(lambda: ("FailedMount", text) in cluster.events(name), "FailedMount")
    cluster.waits(name, "ContainerCreating")
    assert "is waiting to start: ContainerCreating" in cluster.log(name)[1]
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "later"}, "data": {"key": "value\n"}}
    cluster.plane.api.send("POST", f"{CORE}/configmaps", body)
    cluster.ready(name)
    until(lambda: cluster.log(name) == (200, "value\n"), "the log")
    cluster.delete(name)


def test_a_local_volume_on_a_real_partition(cluster: Cluster, tmp_path: Path) -> None:
    """As the unprivileged manifest has it: the node mounts the partition, read-only; wrong devices are FailedMount."""
    (tmp_path / "content").mkdir()
    (tmp_path / "content/a.gguf").write_text("GGUF\n")
    with LoopDisk(tmp_path / "disk.img", tmp_path / "content", "models") as disk:
        devices = {"good": disk.partition, "whole": disk.disk, "none": Path("/dev/nvme9n1p1")}
        for name, device in devices.items():
            cluster.volume(name, device)
            mounts = [{"name": "models", "mountPath": "/models"}]
            volume = {"name": "models", "persistentVolumeClaim": {"claimName": name}}
            script = "exec 2>&1; cat /models/models/a.gguf; touch /models/x; sleep 100"
            cluster.pod(f"pv-{name}", script, {"volumeMounts": mounts}, volumes=[volume])
        cluster.ready("pv-good")
        text = "GGUF\ntouch: /models/x: Read-only file system\n"
        until(lambda: cluster.log("pv-good") == (200, text), "the log")
        none = 'NewMounter initialization failed for volume "none" : path "/dev/nvme9n1p1" does not exist'
        until(
            lambda: ("FailedMount", f"MountVolume.{none}") in cluster.events("pv-none"), "FailedMount of a missing one"
        )
        failed = until(lambda: dict(cluster.events("pv-whole")).get("FailedMount", ""), "FailedMount of a whole disk")
        assert failed.startswith('MountVolume.MountDevice failed for volume "whole" : local: failed to mount device')
        for name in devices:
            assert cluster.delete(f"pv-{name}") < 30
            cluster.plane.api.call("DELETE", f"{CORE}/persistentvolumeclaims/{name}")
            cluster.plane.api.call("DELETE", f"/api/v1/persistentvolumes/{name}")


def test_a_pod_that_the_node_has_no_room_for(cluster: Cluster) -> None:
    """Bound to the node without the scheduler, as by `nodeName`."""
    gpus = {"resources": {"limits": {"nvidia.com/gpu": "2"}}}
    first = cluster.pod("first", "sleep 1000", gpus)
    cluster.ready(first)
    second = cluster.pod("second", "sleep 1000", gpus, nodeName=NODE)
    until(lambda: cluster.get(second)["status"].get("phase") == "Failed", "it to be rejected")
    status = cluster.get(second)["status"]
    text = "Node didn't have enough resource: nvidia.com/gpu, requested: 2, used: 2, capacity: 2"
    assert (status["reason"], status["message"]) == ("OutOfnvidia.com/gpu", f"Pod was rejected: {text}")
    third = cluster.pod("third", "sleep 1000", gpus)
    until(lambda: conditions(cluster.get(third)).get("PodScheduled") == "False", "the third to be unschedulable")
    for one in (second, first):
        cluster.delete(one)
    cluster.ready(third)
    cluster.delete(third)


def test_a_service_account_token(cluster: Cluster) -> None:
    script = "ls /var/run/secrets/kubernetes.io/serviceaccount; sleep 100"
    name = cluster.pod("token", script, automountServiceAccountToken=True)
    cluster.ready(name)
    until(lambda: cluster.log(name) == (200, "ca.crt\nnamespace\ntoken\n"), "the log")
    cluster.delete(name)


def test_the_api_server_goes_away_and_comes_back(cluster: Cluster) -> None:
    name = cluster.pod("survivor", "sleep 1000")
    started = cluster.ready(name)["status"]["containerStatuses"][0]["containerID"]
    cluster.plane.restart_api_server(kill=True, away=2)
    after = cluster.pod("after", "sleep 1000")
    cluster.ready(after)
    one = cluster.container(name)
    assert (one["containerID"], one["restartCount"]) == (started, 0)
    for each in (name, after):
        cluster.delete(each)


def test_not_ready_and_silent(cluster: Cluster) -> None:
    def ready() -> str:
        return conditions(cluster.plane.api.get(f"/api/v1/nodes/{NODE}") or {})["Ready"]

    assert ready() == "True"
    cluster.node.not_ready()
    until(lambda: ready() == "False", "NotReady")
    cluster.node.ready()
    until(lambda: ready() == "True", "Ready")
    cluster.node.silent()
    until(lambda: ready() == "Unknown", "the node controller to notice")
    cluster.node.ready()
    until(lambda: ready() == "True", "Ready again")

    def untainted() -> bool:
        node = cluster.plane.api.get(f"/api/v1/nodes/{NODE}") or {}
        return not node["spec"].get("taints")

    until(untainted, "the taint to go")


def test_logs_are_for_the_api_server_alone(cluster: Cluster) -> None:
    """A client without a certificate of the cluster's is not answered."""
    with socket.create_connection(("127.0.0.1", cluster.node.port), 5) as line:
        line.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert b"200" not in line.recv(100)
    context = ssl.create_default_context(cafile=str(cluster.plane.authority.pair.certificate))
    url = f"https://127.0.0.1:{cluster.node.port}/healthz"
    with pytest.raises((urllib.error.URLError, OSError)):
        urllib.request.urlopen(url, context=context, timeout=5).read()
    pair = cluster.plane.authority.issue("admin", "admin")
    context.load_cert_chain(pair.certificate, pair.key)
    assert urllib.request.urlopen(url, context=context, timeout=5).read() == b"ok"


def test_patching_a_status_keeps_what_others_said(cluster: Cluster) -> None:
    name = cluster.pod("kept", "sleep 1000")
    cluster.ready(name)
    extra = {"type": "example.test/seen", "status": "True"}
    cluster.plane.api.send("PATCH", f"{CORE}/pods/{name}/status", {"status": {"conditions": [extra]}}, STRATEGIC)
    cluster.plane.api.call("DELETE", f"{CORE}/pods/{name}?gracePeriodSeconds=5")
    pod = cluster.get(name)
    assert {"PodScheduled", "example.test/seen"} <= set(conditions(pod))
    until(lambda: not cluster.get(name), "it to be gone")
