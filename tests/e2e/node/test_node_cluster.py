"""The agent as a node of a real control plane: what the API then says of pods, events, logs and Services.

Runs where LEVIATHAN_KUBERNETES names a folder with Kubernetes' programs; LEVIATHAN_E2E=required makes their absence a
failure. One agent and one registry serve all tests; each test has pods of its own.
"""

import contextlib
import os
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.control_plane.api import STRATEGIC, Json
from e2e.control_plane.argv import Times
from e2e.control_plane.errors import ControlPlaneError
from e2e.control_plane.objects import NODE
from e2e.control_plane.plane import ControlPlane
from e2e.control_plane.settings import find_programs
from e2e.way.disk import LoopDisk

from .handle import NodeProcess, join
from .support import RealRegistry, answers, free_port, real_registry, until
from .tiny_image import busybox_layer, push

NAMESPACE = "ai-workloads"
CORE = f"/api/v1/namespaces/{NAMESPACE}"
APPS = f"/apis/apps/v1/namespaces/{NAMESPACE}"
PROBE = {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 2}
SERVE = "mkdir -p /www; echo yes >/www/health; exec httpd -f -p 30000 -h /www"
pytestmark = pytest.mark.timeout(600)


@dataclass
class Cluster:
    """The control plane, its node, and the registry with the image `box`."""

    plane: ControlPlane
    node: NodeProcess
    registry: RealRegistry
    root: Path
    digest: str

    @property
    def image(self) -> str:
        """busybox, by digest."""
        return f"{self.registry.host}/box@{self.digest}"

    def pod(self, name: str, script: str, container: Json | None = None, **spec: object) -> str:
        """Creates a pod that runs a shell script on our node; returns its name."""
        one = {"name": "main", "image": self.image, "command": ["sh", "-c", script], **(container or {})}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {
                "containers": [one],
                "terminationGracePeriodSeconds": 1,
                "automountServiceAccountToken": False,
                "tolerations": [{"operator": "Exists"}],
                **spec,
            },
        }
        self.plane.api.send("POST", f"{CORE}/pods", body)
        return name

    def volume(self, name: str, device: Path) -> None:
        """A local volume on a device of our node, with a claim of the same name."""
        terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}]}]
        both: Json = {"storageClassName": "", "accessModes": ["ReadWriteOnce"]}
        spec = {
            **both,
            "capacity": {"storage": "1G"},
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": name, "namespace": NAMESPACE},
            "mountOptions": ["ro", "noatime"],
            "local": {"path": str(device), "fsType": "xfs"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
        }
        claim = {**both, "volumeName": name, "resources": {"requests": {"storage": "1G"}}}
        for path, kind, body in (
            ("/api/v1/persistentvolumes", "PersistentVolume", spec),
            (f"{CORE}/persistentvolumeclaims", "PersistentVolumeClaim", claim),
        ):
            self.plane.api.send(
                "POST", path, {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": body}
            )

    def get(self, name: str) -> Json:
        """The pod."""
        return self.plane.api.get(f"{CORE}/pods/{name}") or {}

    def container(self, name: str) -> Json:
        """The status of a pod's only container, {} before there is one."""
        found: list[Json] = self.get(name).get("status", {}).get("containerStatuses") or [{}]
        return found[0]

    def waits(self, name: str, reason: str, timeout_s: float = 40) -> Json:
        """Until the container waits for that reason; its `waiting`."""

        def found() -> Json:
            waiting: Json = self.container(name).get("state", {}).get("waiting") or {}
            return waiting if waiting.get("reason") == reason else {}

        return until(found, f"{name} to wait with {reason}", timeout_s)

    def ready(self, name: str, timeout_s: float = 40) -> Json:
        """Until the pod is Ready; the pod."""

        def found() -> Json:
            pod = self.get(name)
            return pod if conditions(pod).get("Ready") == "True" else {}

        return until(found, f"{name} to be ready", timeout_s)

    def events(self, name: str) -> list[tuple[str, str]]:
        """(reason, message) of the pod's events, oldest first."""
        items = (self.plane.api.get(f"{CORE}/events") or {})["items"]
        mine = [e for e in items if e["involvedObject"]["name"] == name and e["source"].get("component") == "kubelet"]
        mine.sort(key=lambda e: (e["firstTimestamp"], int(e["metadata"]["resourceVersion"])))
        return [(e["reason"], e["message"]) for e in mine]

    def log(self, name: str, query: str = "") -> tuple[int, str]:
        """The API server's log subresource: status and text."""
        answer = self.plane.api.call("GET", f"{CORE}/pods/{name}/log?{query}")
        return answer.status, answer.body.decode()

    def delete(self, name: str) -> float:
        """Delete the pod as kubectl does, and wait until it is gone; the seconds that took."""
        began = time.monotonic()
        self.plane.api.call("DELETE", f"{CORE}/pods/{name}")
        until(lambda: not self.get(name), f"{name} to be gone", 40)
        return time.monotonic() - began


def conditions(pod: Json) -> dict[str, str]:
    """Type → status."""
    return {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions") or []}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    try:
        programs = find_programs(os.environ)
    except ControlPlaneError as error:
        if os.environ.get("LEVIATHAN_E2E") == "required":
            raise
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("cluster")
    with (
        real_registry(folder / "registry") as registry,
        ControlPlane(programs, folder / "plane", Times(node_grace=8, node_poll=1)) as plane,
        join(plane, folder / "node", "--quick") as node,
    ):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        body["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "privileged"}  # type: ignore[index]
        plane.api.apply(f"/api/v1/namespaces/{NAMESPACE}", body)
        account = f"{CORE}/serviceaccounts/default"
        until(lambda: plane.api.call("GET", account).status == 200, "the namespace's service account")
        digest = push(registry.host, "box", "t", [busybox_layer()], {"Cmd": ["sh"], "Env": ["FROM_IMAGE=yes"]})
        yield Cluster(plane, node, registry, folder, digest)


def test_the_node_registers_with_its_gpus(cluster: Cluster) -> None:
    node = cluster.plane.api.get(f"/api/v1/nodes/{NODE}") or {}
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "2"
    assert (node["status"]["capacity"]["cpu"], node["status"]["capacity"]["memory"]) == ("96", "384Gi")
    assert conditions(node)["Ready"] == "True"
    lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/" + NODE
    first = (cluster.plane.api.get(lease) or {})["spec"]["renewTime"]
    until(lambda: (cluster.plane.api.get(lease) or {})["spec"]["renewTime"] > first, "a heartbeat")


def test_a_pod_runs_is_probed_logged_and_deleted(cluster: Cluster) -> None:
    http = {"httpGet": {"path": "/health", "port": "http"}, **PROBE}
    container = {
        "ports": [{"name": "http", "containerPort": 30000}],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2"}],
        "startupProbe": {**http, "failureThreshold": 30},
        "readinessProbe": http,
        "livenessProbe": http,
        "securityContext": {"privileged": True, "readOnlyRootFilesystem": True},
        "volumeMounts": [{"name": "www", "mountPath": "/www"}, {"name": "shm", "mountPath": "/dev/shm"}],
        "resources": {"limits": {"nvidia.com/gpu": "2", "memory": "64Mi"}},
    }
    volumes = [
        {"name": "www", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "5Mi"}},
    ]
    script = "echo $FROM_IMAGE $B; df -k /dev/shm | tail -1 | awk '{print $2}'; touch /x; sleep 2; " + SERVE
    name = cluster.pod("whole", script, container, volumes=volumes, runtimeClassName="nvidia")
    until(lambda: cluster.container(name).get("state", {}).get("running"), "it to run")
    assert not cluster.container(name)["started"]
    pod = cluster.ready(name)
    status, one = pod["status"], pod["status"]["containerStatuses"][0]
    assert (status["phase"], one["started"], one["restartCount"]) == ("Running", True, 0)
    assert one["imageID"] == cluster.image
    assert set(conditions(pod).values()) == {"True"}
    reasons = [reason for reason, _message in cluster.events(name)]
    assert [r for r in reasons if r != "Unhealthy"] == ["Pulling", "Pulled", "Created", "Started"]
    said = [message for reason, message in cluster.events(name) if reason == "Unhealthy"]
    address = status["podIP"]
    refused = f'Get "http://{address}:30000/health": dial tcp {address}:30000: connect: connection refused'
    assert said == [f"Startup probe failed: {refused}"]

    code, text = cluster.log(name)
    assert (code, text.splitlines()[:2]) == (200, ["yes 12", "5120"])
    assert "Read-only file system" in text
    assert cluster.log(name, "tailLines=1")[1].endswith("Read-only file system\n")
    stamped = cluster.log(name, "timestamps=true")[1].splitlines()[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z yes 12", stamped)
    assert cluster.log(name, "previous=true")[0] == 400
    assert cluster.log(name, "container=other")[0] == 400

    took = cluster.delete(name)
    assert took < 15
    assert ("Killing", "Stopping container main") in cluster.events(name)
    assert not list((cluster.root / "node/pods").iterdir())
    assert not list((cluster.root / "node/containers").iterdir())


def test_a_crash_loop(cluster: Cluster) -> None:
    container = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    name = cluster.pod("crash", "echo run; echo the reason >&2; exit 3", container)
    waiting = cluster.waits(name, "CrashLoopBackOff")
    uid = cluster.get(name)["metadata"]["uid"]
    assert re.fullmatch(
        rf"back-off \d+s restarting failed container=main pod={name}_{NAMESPACE}\({uid}\)", waiting["message"]
    )
    one = cluster.container(name)
    last = one["lastState"]["terminated"]
    assert one["restartCount"] >= 1
    assert (last["exitCode"], last["reason"]) == (3, "Error")
    assert sorted(last["message"].splitlines()) == ["run", "the reason"]
    assert cluster.get(name)["status"]["phase"] == "Running"
    assert conditions(cluster.get(name))["Ready"] == "False"
    assert cluster.log(name, "previous=true")[0] == 200
    until(lambda: cluster.container(name)["restartCount"] >= 3, "three restarts")
    backoff = f"Back-off restarting failed container main in pod {name}_{NAMESPACE}({uid})"
    until(lambda: ("BackOff", backoff) in cluster.events(name), "the event")
    cluster.delete(name)


def test_the_message_file_wins_over_the_log(cluster: Cluster) -> None:
    container = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    script = "echo from the file >/dev/termination-log; echo from the log; exit 4"
    name = cluster.pod("message", script, container, restartPolicy="Never")
    until(lambda: cluster.get(name)["status"].get("phase") == "Failed", "it to fail")
    ended = cluster.container(name)["state"]["terminated"]
    assert (ended["exitCode"], ended["message"]) == (4, "from the file\n")
    good = cluster.pod("good", "echo done", restartPolicy="Never")
    until(lambda: cluster.get(good)["status"].get("phase") == "Succeeded", "the other to succeed")
    ended = cluster.container(good)["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended.get("message")) == (0, "Completed", None)
    assert cluster.log(good) == (200, "done\n")
    for one in (name, good):
        cluster.delete(one)


def test_an_image_that_is_missing_and_then_pushed(cluster: Cluster) -> None:
    image = f"{cluster.registry.host}/box:later"
    name = cluster.pod("missing", "sleep 100", {"image": image})
    text = f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": {image}: not found'
    whole = f"rpc error: code = NotFound desc = {text}"
    assert cluster.waits(name, "ErrImagePull")["message"] == whole
    back = cluster.waits(name, "ImagePullBackOff")
    assert back["message"] == f'Back-off pulling image "{image}": ErrImagePull: {whole}'
    assert "trying and failing to pull image" in cluster.log(name)[1]
    assert cluster.get(name)["status"]["phase"] == "Pending"
    until(lambda: ("BackOff", f'Back-off pulling image "{image}"') in cluster.events(name), "the event")
    seen = cluster.events(name)
    assert ("Failed", f'Failed to pull image "{image}": {whole}') in seen
    assert ("Failed", "Error: ErrImagePull") in seen
    push(cluster.registry.host, "box", "later", [busybox_layer()], {"Cmd": ["sh"]})
    cluster.ready(name)
    cluster.delete(name)


def test_memory_above_the_limit(cluster: Cluster) -> None:
    container = {"resources": {"limits": {"memory": "20Mi"}}}
    name = cluster.pod("oom", "x=x; while :; do x=$x$x; done", container, restartPolicy="Never")
    until(lambda: cluster.get(name)["status"].get("phase") == "Failed", "it to be killed")
    ended = cluster.container(name)["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    cluster.delete(name)


def test_liveness_restarts_and_readiness_takes_out_of_the_service(cluster: Cluster) -> None:
    port = free_port() % 2768 + 30000
    live = {"httpGet": {"path": "/live", "port": 30000}, **PROBE}
    ready = {"httpGet": {"path": "/health", "port": 30000}, **PROBE}
    volume = {"name": "www", "hostPath": {"path": str(cluster.root / "www"), "type": "DirectoryOrCreate"}}
    container = {
        "livenessProbe": live,
        "readinessProbe": ready,
        "volumeMounts": [{"name": "www", "mountPath": "/www"}],
    }
    name = cluster.pod("probed", "touch /www/live; " + SERVE, container, volumes=[volume])
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "type": "NodePort",
            "selector": {"app": name},
            "ports": [{"name": "http", "port": 30000, "targetPort": 30000, "nodePort": port}],
        },
    }
    cluster.plane.api.send("POST", f"{CORE}/services", service)
    cluster.ready(name)

    def ask() -> bytes:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/live", timeout=5) as answer:
                return b"200 " + bytes(answer.read())
        except urllib.error.URLError as err:
            return str(err.reason).encode()

    until(lambda: ask() == b"200 ", "the NodePort to answer")
    (cluster.root / "www/health").unlink()
    until(lambda: conditions(cluster.get(name))["Ready"] == "False", "it to be unready")
    until(lambda: b"refused" in ask(), "the NodePort to be closed")
    assert cluster.container(name)["restartCount"] == 0
    assert ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 404") in cluster.events(name)
    (cluster.root / "www/live").unlink()
    until(lambda: cluster.container(name)["restartCount"] == 1, "a restart")
    seen = cluster.events(name)
    assert ("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 404") in seen
    assert ("Killing", "Container main failed liveness probe, will be restarted") in seen
    until(lambda: ask() == b"200 ", "the NodePort to answer again", 40)
    last = cluster.container(name)["lastState"]["terminated"]
    assert last["exitCode"] in (137, 143)
    cluster.plane.api.call("DELETE", f"{CORE}/services/{name}")
    until(lambda: b"refused" in ask(), "the NodePort to be gone")
    cluster.delete(name)


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


def test_a_startup_probe_that_never_passes(cluster: Cluster) -> None:
    name = cluster.pod("slow", "sleep 1000", {"startupProbe": {"tcpSocket": {"port": 1}, **PROBE}})
    until(lambda: cluster.container(name).get("restartCount", 0) >= 1, "a restart", 40)
    assert ("Killing", "Container main failed startup probe, will be restarted") in cluster.events(name)
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
            script = "cat /models/models/a.gguf; touch /models/x; sleep 100"
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


def test_what_cannot_be_configured_or_started(cluster: Cluster) -> None:
    secret = {"env": [{"name": "S", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k"}}}]}
    first = cluster.pod("config", "true", secret)
    assert cluster.waits(first, "CreateContainerConfigError")["message"] == 'secret "none" not found'
    second = cluster.pod("start", "", {"command": ["/nope"]})
    assert "/nope: no such file or directory: unknown" in cluster.waits(second, "RunContainerError")["message"]
    ended = until(lambda: cluster.container(second)["lastState"].get("terminated"), "its last state")
    assert (ended["reason"], ended["exitCode"]) == ("StartError", 128)
    third = cluster.pod("root", "true", {"securityContext": {"runAsNonRoot": True}})
    assert "image will run as root" in cluster.waits(third, "CreateContainerConfigError")["message"]
    for one in (first, second, third):
        cluster.delete(one)


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


def test_a_pod_that_ignores_sigterm_is_killed_after_its_grace(cluster: Cluster) -> None:
    name = cluster.pod("stubborn", "trap '' TERM; while :; do sleep 0.2; done", terminationGracePeriodSeconds=4)
    cluster.ready(name)
    assert 3.5 < cluster.delete(name) < 15


def test_init_containers_and_users(cluster: Cluster) -> None:
    shared = [{"name": "v", "mountPath": "/v"}]
    init = {"name": "init", "image": cluster.image, "command": ["sh", "-c", "sleep 1; id -u >/v/who"]}
    user = {"runAsUser": 65532, "runAsGroup": 65532, "runAsNonRoot": True}
    name = cluster.pod(
        "inits",
        "cat /v/who; sleep 100",
        {"volumeMounts": shared},
        initContainers=[{**init, "volumeMounts": shared}],
        volumes=[{"name": "v", "emptyDir": {}}],
        securityContext=user,
    )
    cluster.waits(name, "PodInitializing")
    pod = cluster.ready(name)
    assert pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"
    until(lambda: cluster.log(name) == (200, "65532\n"), "the log")
    cluster.delete(name)


def test_a_service_account_token(cluster: Cluster) -> None:
    script = "ls /var/run/secrets/kubernetes.io/serviceaccount; sleep 100"
    name = cluster.pod("token", script, automountServiceAccountToken=True)
    cluster.ready(name)
    until(lambda: cluster.log(name) == (200, "ca.crt\nnamespace\ntoken\n"), "the log")
    cluster.delete(name)


def test_following_a_log_through_the_api_server(cluster: Cluster) -> None:
    name = cluster.pod("chatty", "for i in 1 2 3 4 5; do echo $i; sleep 0.4; done", restartPolicy="Never")
    until(lambda: cluster.container(name).get("state", {}).get("running"), "it to run")
    began = time.monotonic()
    code, text = cluster.log(name, "follow=true")
    assert (code, text) == (200, "1\n2\n3\n4\n5\n")
    assert time.monotonic() - began > 0.5
    cluster.delete(name)


def test_the_api_server_goes_away_and_comes_back(cluster: Cluster) -> None:
    name = cluster.pod("survivor", "sleep 1000")
    started = cluster.ready(name)["status"]["containerStatuses"][0]["containerID"]
    cluster.plane.restart_api_server(kill=True, away=2)
    after = cluster.pod("after", "sleep 1000")
    cluster.ready(after, 60)
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
    until(lambda: ready() == "Unknown", "the node controller to notice", 60)
    cluster.node.ready()
    until(lambda: ready() == "True", "Ready again")

    def untainted() -> bool:
        node = cluster.plane.api.get(f"/api/v1/nodes/{NODE}") or {}
        return not node["spec"].get("taints")

    until(untainted, "the taint to go", 40)


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
    until(lambda: not cluster.get(name), "it to be gone", 40)
