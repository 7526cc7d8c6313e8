"""The control plane itself: real etcd and Kubernetes, and the faults that other tests need of it.

Runs where LEVIATHAN_KUBERNETES names a folder with the programs; LEVIATHAN_E2E=required makes their absence a failure.
"""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from e2e.control_plane import objects
from e2e.control_plane.api import APPLY, STRATEGIC, Api, Json, wait
from e2e.control_plane.argv import Times
from e2e.control_plane.errors import ControlPlaneError
from e2e.control_plane.part import started_at
from e2e.control_plane.plane import ControlPlane
from e2e.control_plane.settings import find_programs
from e2e.control_plane.standing_node import StandingNode

PODS = "/api/v1/namespaces/default/pods"
NODE = f"/api/v1/nodes/{objects.NODE}"
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    try:
        programs = find_programs(os.environ)
    except ControlPlaneError as error:
        if os.environ.get("LEVIATHAN_E2E") == "required":
            raise
        pytest.skip(str(error))
    with ControlPlane(programs, tmp_path_factory.mktemp("plane"), Times(node_grace=8, node_poll=1)) as plane:
        yield plane


@pytest.fixture(scope="module")
def node(plane: ControlPlane) -> Iterator[StandingNode]:
    with StandingNode(plane.api, beat=2.0) as node:
        wait("the node takes pods", lambda: not taints(plane.api), 60)
        yield node


def taints(api: Api) -> list[str]:
    """The keys of the node's taints; a placeholder where there is no node."""
    found = api.get(NODE)
    return [taint["key"] for taint in found["spec"].get("taints", [])] if found else ["no node"]


def pod(name: str, gpus: int = 0, privileged: bool = False) -> Json:
    """A pod with one container."""
    container: Json = {"name": "main", "image": "image:tag", "securityContext": {"privileged": privileged}}
    if gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": str(gpus)}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}}


def scheduled(api: Api, name: str) -> str:
    """What the scheduler says about a pod: the node's name, the reason against it, or nothing yet."""
    found = api.get(f"{PODS}/{name}") or {}
    conditions = [c for c in found.get("status", {}).get("conditions", []) if c["type"] == "PodScheduled"]
    return str(found.get("spec", {}).get("nodeName") or (conditions[0].get("message") if conditions else ""))


def test_it_is_kubernetes_1_34_with_our_node(plane: ControlPlane, node: StandingNode) -> None:
    version = plane.api.send("GET", "/version")
    assert (version["major"], version["minor"]) == ("1", "34")
    found = plane.api.send("GET", NODE)
    assert found["status"]["allocatable"] == objects.CAPACITY
    assert {c["type"]: c["status"] for c in found["status"]["conditions"]}["Ready"] == "True"
    assert plane.api.send("GET", "/apis/node.k8s.io/v1/runtimeclasses/nvidia")["handler"] == "nvidia"


def test_who_may_do_what(plane: ControlPlane, node: StandingNode) -> None:
    root = plane.authority.pair.certificate
    restricted = Api(plane.ports.api, root, plane.authority.issue("restricted", objects.RESTRICTED_USER))
    assert restricted.call("GET", PODS).status == 200
    refused = restricted.call("POST", PODS, pod("mine"))
    assert refused.status == 403
    assert refused.json()["reason"] == "Forbidden"
    assert Api(plane.ports.api, root).call("GET", PODS).status == 403  # nobody in particular
    assert plane.api.call("GET", PODS).status == 200


def test_pod_security_denies_privilege_unless_the_namespace_allows_it(plane: ControlPlane) -> None:
    refused = plane.api.call("POST", PODS, pod("privileged", privileged=True))
    assert refused.status == 403
    assert 'violates PodSecurity "baseline:latest"' in refused.json()["message"]
    labels = {"pod-security.kubernetes.io/enforce": "privileged"}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "trusted", "labels": labels}}
    plane.api.apply("/api/v1/namespaces/trusted", space)
    path = "/api/v1/namespaces/trusted/pods"
    account = "/api/v1/namespaces/trusted/serviceaccounts/default"
    wait("the namespace's account", lambda: plane.api.call("GET", account).status == 200, 30)
    assert plane.api.send("POST", path, pod("privileged", privileged=True))["metadata"]["name"] == "privileged"
    plane.api.send("DELETE", f"{path}/privileged?gracePeriodSeconds=0")


def test_the_scheduler_counts_gpus(plane: ControlPlane, node: StandingNode) -> None:
    plane.api.send("POST", PODS, pod("first", gpus=2))
    wait("the first pod bound", lambda: scheduled(plane.api, "first") == objects.NODE, 60)
    plane.api.send("POST", PODS, pod("second", gpus=2))
    wait("the second refused", lambda: "Insufficient nvidia.com/gpu" in scheduled(plane.api, "second"), 60)
    plane.api.send("DELETE", f"{PODS}/first?gracePeriodSeconds=0")
    wait("the second bound", lambda: scheduled(plane.api, "second") == objects.NODE, 120)
    plane.api.send("DELETE", f"{PODS}/second?gracePeriodSeconds=0")


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "ended"])
def test_the_api_server_comes_back_with_its_data(plane: ControlPlane, kill: bool) -> None:
    path = f"/api/v1/namespaces/default/configmaps/kept-{kill}".lower()
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": path.rpartition("/")[2]}, "data": {"a": "b"}}
    plane.api.apply(path, item)
    before = plane.api_server.pid
    away = plane.restart_api_server(kill=kill, away=0.5)
    assert away >= 0.5
    assert plane.api_server.pid != before
    assert plane.api.send("GET", path)["data"] == {"a": "b"}
    assert started_at(before) == ""


def write_time(plane: ControlPlane, turn: str) -> float:
    """The seconds that three writes take, each another value."""
    begun = time.monotonic()
    for number in range(3):
        item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "slow"}, "data": {"n": f"{turn}{number}"}}
        path = "/api/v1/namespaces/default/configmaps/slow?fieldManager=test&force=true"
        assert plane.api.call("PATCH", path, item, APPLY).status in (200, 201)
    return time.monotonic() - begun


def test_a_slow_etcd_slows_writes_and_loses_none(plane: ControlPlane) -> None:
    write_time(plane, "warm")
    quick = write_time(plane, "quick")
    with plane.slow_etcd(stopped=1.5, running=0.05):
        slow = write_time(plane, "slow")
    assert slow > quick + 1.0
    wait("etcd quick again", lambda: write_time(plane, f"again{datetime.now(UTC)}") < slow / 2, 60)
    assert plane.api.send("GET", "/api/v1/namespaces/default/configmaps/slow")["data"]["n"].startswith("again")


def test_a_node_that_reports_not_ready_is_tainted_and_recovers(plane: ControlPlane, node: StandingNode) -> None:
    assert node.set_ready(False)
    wait("the taint", lambda: "node.kubernetes.io/not-ready" in taints(plane.api), 60)
    assert node.set_ready(True)
    wait("no taint", lambda: not taints(plane.api), 60)


def test_a_node_that_says_nothing_is_found_out(plane: ControlPlane) -> None:
    path = "/api/v1/nodes/silent"
    with StandingNode(plane.api, "silent", beat=1.0):
        wait("silent is Ready", lambda: ready(plane.api, path) == "True", 60)
    wait("silent is Unknown", lambda: ready(plane.api, path) == "Unknown", 90)
    plane.api.send("DELETE", path)


def ready(api: Api, path: str) -> str:
    """The status of a node's Ready condition."""
    found = api.get(path) or {}
    return "".join(c["status"] for c in found.get("status", {}).get("conditions", []) if c["type"] == "Ready")


def test_a_wrong_answer_is_told(plane: ControlPlane) -> None:
    assert plane.api.get("/api/v1/nodes/none") is None
    with pytest.raises(ControlPlaneError, match="GET /api/v1/nodes/none: status 404"):
        plane.api.send("GET", "/api/v1/nodes/none")
    with pytest.raises(ControlPlaneError, match="status 415"):
        plane.api.send("PATCH", NODE, {}, STRATEGIC.replace("strategic", "no"))


def test_ports_that_another_has_are_named(plane: ControlPlane, tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text((plane.folder / "ports.json").read_text(encoding="utf-8"), encoding="utf-8")
    second = ControlPlane(find_programs(os.environ), tmp_path, patience=60)  # the ports of the one that runs
    with pytest.raises(
        ControlPlaneError, match=r"port \d+ on 127.0.0.1 \(etcd\) cannot be had: Address already in use"
    ):
        second.__enter__()
    assert not any(part.alive for part in second.parts)
    assert plane.ready()


def test_a_part_that_ends_says_why(plane: ControlPlane, tmp_path: Path) -> None:
    other = ControlPlane(find_programs(os.environ), tmp_path, patience=60)
    other.etcd.argv.append("--data-dir=/proc/none")
    with pytest.raises(ControlPlaneError, match=r"etcd has ended: .*/proc/none.*; read .*etcd\.log"):
        other.__enter__()
    assert not any(part.alive for part in other.parts)


def test_the_end_leaves_no_process(plane: ControlPlane) -> None:
    numbers = [part.pid for part in plane.parts]
    plane.stop()
    assert [started_at(number) for number in numbers] == ["", "", "", ""]
    plane.start()  # and the same data and ports are there again
    assert plane.api.get(NODE) is not None
