"""The pure parts: phases, back-offs, quantities, commands and variables, NodePorts, durations."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .managed import go_duration
from .proxy import wanted_ports
from .quantity import amount, requested
from .spec import CAPABILITIES, ConfigError, command, environment, expand, user
from .status import ContainerState, Run, conditions, container_status, phase
from .timing import Backoff

Json = dict[str, Any]
POD: Json = {"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {"containers": []}}


def one(*runs: Run, waiting: str = "", ready: bool = True, restarts: bool = True) -> Json:
    """A container's status."""
    state = ContainerState({"name": "c", "image": "i"}, False, list(runs), waiting, "", True, ready)
    return container_status(state, initialising=False, restarts=restarts)


def ended(code: int, number: int = 0) -> Run:
    """A run that ended with a code."""
    return Run("id", number, "image@sha256:1", 1, 2, 3, code, "Error" if code else "Completed")


RUNNING = Run("id", 1, "image@sha256:1", 1, 2)


@pytest.mark.parametrize(
    ("status", "policy", "ending", "expected"),
    [
        (one(), "Always", False, "Pending"),
        (one(RUNNING), "Always", False, "Running"),
        (one(ended(1)), "Always", False, "Running"),
        (one(ended(1), waiting="CrashLoopBackOff"), "Always", False, "Running"),
        (one(waiting="ImagePullBackOff"), "Always", False, "Pending"),
        (one(ended(0), restarts=False), "Never", False, "Succeeded"),
        (one(ended(1), restarts=False), "Never", False, "Failed"),
        (one(ended(0), restarts=False), "OnFailure", False, "Succeeded"),
        (one(ended(1)), "OnFailure", False, "Running"),
        (one(ended(0), restarts=False), "Always", True, "Succeeded"),
        (one(ended(137), restarts=False), "Always", True, "Failed"),
        (one(restarts=False), "Always", True, "Failed"),
    ],
)
def test_phases(status: Json, policy: str, ending: bool, expected: str) -> None:
    pod = {"spec": {"restartPolicy": policy}}
    assert phase(pod, [], [status], ending=ending) == expected


def test_a_restarted_container_shows_its_last_end() -> None:
    status = one(ended(3), RUNNING)
    assert "running" in status["state"]
    assert (status["lastState"]["terminated"]["exitCode"], status["restartCount"]) == (3, 1)
    waiting = one(ended(3), waiting="CrashLoopBackOff")
    assert waiting["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert waiting["lastState"]["terminated"]["exitCode"] == 3
    assert (waiting["ready"], waiting["started"]) == (False, False)
    final = one(ended(3), waiting="CrashLoopBackOff", restarts=False)
    assert final["state"]["terminated"]["exitCode"] == 3


def test_conditions_keep_their_time_while_nothing_changes() -> None:
    now = {"phase": "Running", "sandbox": True}
    first = conditions([{"type": "PodScheduled", "status": "True"}], POD, [], [one(RUNNING, ready=False)], now)
    by = {c["type"]: c for c in first}
    assert by["Ready"]["message"] == "containers with unready status: [c]"
    assert by["PodScheduled"]["status"] == "True"
    for c in first:
        c["lastTransitionTime"] = "2020-01-01T00:00:00Z"
    second = {c["type"]: c for c in conditions(first, POD, [], [one(RUNNING)], now)}
    assert second["Initialized"]["lastTransitionTime"] == "2020-01-01T00:00:00Z"
    assert second["Ready"]["lastTransitionTime"] > "2020-01-01T00:00:00Z"
    done = conditions([], POD, [], [one(ended(0), restarts=False)], {"phase": "Succeeded", "sandbox": True})
    assert {c["type"]: c.get("reason") for c in done}["Ready"] == "PodCompleted"


def test_the_first_restart_is_at_once_then_the_waits_double() -> None:
    wait, seen, now = Backoff(10, 300, 600), [], 1000.0
    for _ in range(8):
        seen.append(wait.wait(""))
        assert wait.blocked("", now, now) == (wait.wait("") > 0)
        assert not wait.blocked("", now - wait.wait(""), now)
        wait.next("", now)
        now += 1
    assert seen == [0, 10, 20, 40, 80, 160, 300, 300]
    assert not wait.blocked("", now + 601, now + 601)
    wait.next("", now + 700)
    assert wait.wait("") == 10


@pytest.mark.parametrize(
    ("seconds", "text"), [(10, "10s"), (80, "1m20s"), (300, "5m0s"), (0.35, "350ms"), (1.5, "1.5s"), (61.25, "1m1.25s")]
)
def test_durations(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("360Gi", 360 << 30),
        ("96", 96),
        ("500m", 0.5),
        ("1k", 1000),
        ("1Ki", 1024),
        ("64Mi", 64 << 20),
        ("3700G", 37 * 10**11),
    ],
)
def test_quantities(text: str, number: float) -> None:
    assert float(amount(text)) == number


@pytest.mark.parametrize("text", ["", "Gi", "1Xi", "1KiB", "x"])
def test_quantities_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        amount(text)


def test_what_a_pod_requests() -> None:
    def container(cpu: str) -> Json:
        return {"resources": {"requests": {"cpu": cpu}}}

    pod = {"spec": {"containers": [container("1"), container("500m")], "initContainers": [container("3")]}}
    assert requested(pod, "cpu") == 3
    assert requested(pod, "nvidia.com/gpu") == 0


@given(st.text("$()AB", max_size=12))
def test_expansion_without_a_known_name_changes_dollars_only(text: str) -> None:
    assert expand(text, {}).count("A") == text.count("A")
    assert expand("$$(A)", {"A": "x"}) == "$(A)"
    assert expand("$(A)-$(B)", {"A": "x"}) == "x-$(B)"


@pytest.mark.parametrize(
    ("container", "config", "argv"),
    [
        ({}, {"Entrypoint": ["e"], "Cmd": ["c"]}, ("e", "c")),
        ({"args": ["$(X)"]}, {"Entrypoint": ["e"], "Cmd": ["c"]}, ("e", "1")),
        ({"command": ["k"]}, {"Entrypoint": ["e"], "Cmd": ["c"]}, ("k",)),
        ({"command": ["k"], "args": ["a"]}, {"Cmd": ["c"]}, ("k", "a")),
        ({}, {"Cmd": ["c"]}, ("c",)),
    ],
)
def test_commands(container: Json, config: Json, argv: tuple[str, ...]) -> None:
    assert command(container, config, {"X": "1"}) == argv


def test_no_command_at_all() -> None:
    with pytest.raises(ConfigError, match="no command specified"):
        command({}, {}, {})


def test_variables_of_the_image_and_the_pod() -> None:
    container = {
        "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "value": "$(A)$(IMG)"},
            {"name": "N", "valueFrom": {"x": {}}},
        ]
    }
    made = environment(container, {"Env": ["IMG=i", "A=0", "PATH=/x"]}, "host", lambda _source: None)
    # A valueFrom that gives nothing leaves its variable out.
    shared = environment({"env": [{"name": "A", "value": "2$(S)"}]}, {"Env": ["S=i"]}, "h", lambda _s: None, {"S": "s"})
    assert (shared["S"], shared["A"]) == ("s", "2s")
    assert made == {"IMG": "i", "A": "1", "PATH": "/x", "B": "1$(IMG)", "HOSTNAME": "host"}


def test_users_and_capabilities(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\neng:x:7:8::/:/bin/sh\n")
    (tmp_path / "etc/group").write_text("root:x:0:\nstaff:x:50:\n")

    def of(image: str, pod: Json | None = None, container: Json | None = None) -> Any:
        whole = POD | {"spec": {"securityContext": pod or {}}}
        return user(whole, {"name": "c", "securityContext": container or {}}, {"User": image}, [tmp_path])

    assert (of("").uid, of("eng").uid, of("eng").gid, of("eng:staff").gid, of("7").gid) == (0, 7, 8, 50, 8)
    assert of("", {"runAsUser": 9, "fsGroup": 4}, {"runAsGroup": 5}).supplementary == (4,)
    assert of("", container={"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}).capabilities == 1 << 21
    assert of("", container={"privileged": True}).capabilities == (1 << len(CAPABILITIES)) - 1
    with pytest.raises(ConfigError, match="unable to find user nobody"):
        of("nobody")
    with pytest.raises(ConfigError, match="image will run as root"):
        of("", {"runAsNonRoot": True})
    with pytest.raises(ConfigError, match="runAsUser breaks non-root policy"):
        of("", {"runAsNonRoot": True, "runAsUser": 0})


def test_node_ports_lead_to_ready_endpoints_only() -> None:
    port = {"name": "http", "port": 80, "nodePort": 30000, "protocol": "TCP"}
    service = {"metadata": {"namespace": "n", "name": "s"}, "spec": {"ports": [port, {"name": "x", "port": 1}]}}

    def piece(ready: bool, **meta: str) -> Json:
        labels = {"kubernetes.io/service-name": meta.get("name", "s")}
        endpoint = {"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}
        ports = [{"name": "http", "port": 8080}]
        return {"metadata": {"namespace": "n", "labels": labels}, "endpoints": [endpoint], "ports": ports}

    assert wanted_ports([service], [piece(True)]) == {30000: [("10.0.0.1", 8080)]}
    assert wanted_ports([service], [piece(False)]) == {}
    assert wanted_ports([service], [piece(True, name="other")]) == {}
    assert wanted_ports([], [piece(True)]) == {}
