"""Pods on the agent under a real control plane: what the API then says of them, their events and logs."""

import re
import time
import urllib.request

import pytest

from .cluster import CORE, NAMESPACE, PROBE, SERVE, Cluster, conditions
from .support import free_port, until
from .tiny_image import busybox_layer, push

pytestmark = pytest.mark.timeout(600)


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
    script = "exec 2>&1; echo $FROM_IMAGE $B; df -k /dev/shm | tail -1 | awk '{print $2}'; touch /x; sleep 2; " + SERVE
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
        except OSError as err:  # also a reset, of a connection that is open while the port is closed
            return str(err).encode()

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
    until(lambda: ask() == b"200 ", "the NodePort to answer again")
    last = cluster.container(name)["lastState"]["terminated"]
    assert last["exitCode"] in (137, 143)
    cluster.plane.api.call("DELETE", f"{CORE}/services/{name}")
    until(lambda: b"refused" in ask(), "the NodePort to be gone")
    cluster.delete(name)


def test_a_startup_probe_that_never_passes(cluster: Cluster) -> None:
    name = cluster.pod("slow", "sleep 1000", {"startupProbe": {"tcpSocket": {"port": 1}, **PROBE}})
    until(lambda: cluster.container(name).get("restartCount", 0) >= 1, "a restart")
    assert ("Killing", "Container main failed startup probe, will be restarted") in cluster.events(name)
    cluster.delete(name)


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


def test_following_a_log_through_the_api_server(cluster: Cluster) -> None:
    name = cluster.pod("chatty", "for i in 1 2 3 4 5; do echo $i; sleep 0.4; done", restartPolicy="Never")
    until(lambda: cluster.container(name).get("state", {}).get("running"), "it to run")
    began = time.monotonic()
    code, text = cluster.log(name, "follow=true")
    assert (code, text) == (200, "1\n2\n3\n4\n5\n")
    assert time.monotonic() - began > 0.5
    cluster.delete(name)
