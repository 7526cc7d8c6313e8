"""How the whole way looks at a cluster and at the tool's words: inventory, a rollout's steps, the last line."""

import time
from typing import Any

import pytest

from e2e.control_plane.api import Api
from e2e.scenarios import inventory, rollout
from e2e.scenarios.errors import WayError
from e2e.scenarios.faults import ended
from e2e.scenarios.interruptions import beginning, in_phase
from e2e.scenarios.rollout import Progress, progress_of, watched
from e2e.scenarios.stage import Outcome


class Cluster(Api):
    """Answers from a table: path → body."""

    def __init__(self, table: dict[str, Any]) -> None:
        self.table = table
        self.asked: list[str] = []

    def send(self, method: str, path: str, *_: Any) -> dict[str, Any]:
        assert method == "GET"
        self.asked.append(path)
        answer: dict[str, Any] = self.table[path]
        return answer


def item(name: str, uid: str, namespace: str = "one", **metadata: Any) -> dict[str, Any]:
    """An object."""
    return {"metadata": {"name": name, "namespace": namespace, "uid": uid, **metadata}, "spec": {"a": 1}}


def discovery(*resources: tuple[str, list[str]]) -> dict[str, Any]:
    """What a group's version has."""
    return {"resources": [{"name": name, "verbs": verbs} for name, verbs in resources]}


def test_the_inventory_has_every_kind_that_can_be_listed() -> None:
    cluster = Cluster(
        {
            "/apis": {"groups": [{"preferredVersion": {"groupVersion": "apps/v1"}}]},
            "/api/v1": discovery(
                ("pods", ["list", "get"]), ("pods/log", ["get"]), ("bindings", ["create"]), ("events", ["list"])
            ),
            "/apis/apps/v1": discovery(("deployments", ["list"])),
            "/api/v1/pods": {"items": [item("a", "1")]},
            "/apis/apps/v1/deployments": {"items": None},
        }
    )
    assert inventory.inventory(cluster) == {"/api/v1/pods one/a": "1"}
    assert inventory.settled(cluster, pause=0) == {"/api/v1/pods one/a": "1"}


def test_what_never_rests_is_an_error() -> None:
    class Restless(Cluster):
        def send(self, method: str, path: str, *_: Any) -> dict[str, Any]:
            answer = super().send(method, path)
            return {"items": [item("a", str(len(self.asked)))]} if path == "/api/v1/pods" else answer

    cluster = Restless({"/apis": {"groups": []}, "/api/v1": discovery(("pods", ["list"])), "/api/v1/pods": {}})
    with pytest.raises(WayError, match="has not come to rest within 0 s"):
        inventory.settled(cluster, pause=0.01, seconds=0.1)


def test_what_is_gone_new_or_recreated_is_told() -> None:
    before = {"a": "1", "b": "2", "c": "3"}
    assert inventory.difference(before, dict(before)) == []
    assert inventory.difference(before, {"b": "2", "c": "4", "d": "5"}) == ["gone: a", "new: d", "recreated: c"]


def test_what_is_wanted_is_compared_with_or_without_the_version() -> None:
    selector = "?labelSelector=app.kubernetes.io/managed-by%3Dleviathan"
    table: dict[str, Any] = {
        "/api/v1/namespaces": {
            "items": [item("ai", "1", "", resourceVersion="7"), item("old", "2", "", deletionTimestamp="now")]
        },
        f"/api/v1/persistentvolumes{selector}": {"items": []},
        f"/api/v1/persistentvolumeclaims{selector}": {"items": None},
        f"/apis/apps/v1/deployments{selector}": {"items": [item("d", "3", resourceVersion="8", generation=2)]},
        f"/api/v1/services{selector}": {"items": []},
    }
    found = inventory.wanted(Cluster(table), version=True)
    assert sorted(found) == ["Deployment one/d", "Namespace /ai"]
    assert found["Deployment one/d"] == {
        "spec": {"a": 1},
        "uid": "3",
        "generation": 2,
        "labels": None,
        "annotations": None,
        "resourceVersion": "8",
    }
    assert "resourceVersion" not in inventory.wanted(Cluster(table), version=False)["Deployment one/d"]


def test_a_phrase_counts_in_the_last_line_alone() -> None:
    seen: dict[str, Any] = {}
    talk = "warning: it is forbidden\nerror: the end; fix: it\n"
    ended(Outcome(6, "", talk), 6, ("error: the end; ",), seen)
    assert seen == {"status": 6, "says": "error: the end; fix: it"}
    with pytest.raises(WayError, match="the last line has not 'forbidden'"):
        ended(Outcome(6, "", talk), 6, ("forbidden",), {})
    with pytest.raises(WayError, match="exit status 6, wanted 7: error: the end"):
        ended(Outcome(6, "", talk), 7, (), {})
    with pytest.raises(WayError, match="a traceback"):
        ended(Outcome(6, "", f"Traceback\n{talk}"), 6, (), {})


def test_a_kill_fell_into_a_phase_that_had_begun_and_not_ended() -> None:
    lines = [beginning("preflight", 1), "deploy: preflight passed in 0.5 s", beginning("push", 2), "push: 7 of 7"]
    assert lines[0] == "deploy: preflight (1 of 6)"
    assert in_phase(lines, "push", 2)
    assert not in_phase(lines, "preflight", 1)
    assert not in_phase([*lines, "deploy: push      changed in 2 s"], "push", 2)
    assert not in_phase([], "push", 2)


def test_the_engines_progress_is_read_and_kept_once() -> None:
    body = '{"phase": "loading", "layers_loaded": 2, "layers": 4}'
    assert progress_of(body) == Progress("loading", 2, 4)
    assert progress_of('{"phase": "GPUs", "layers_loaded": 0, "layers": null}') == Progress("GPUs", 0, 0)
    for other in ("", "[]", '{"phase": "x"}'):
        assert progress_of(other) is None
    answers = iter([None, progress_of(body), progress_of(body), Progress("ready", 4, 4)])
    with watched(lambda: next(answers, None), pause=0.01) as seen:
        time.sleep(0.3)
    assert list(seen) == [Progress("loading", 2, 4), Progress("ready", 4, 4)]


def stamp(second: int) -> str:
    """A time as Kubernetes writes it."""
    return f"2026-11-27T02:00:{second:02}Z"


def test_a_rollout_is_drawn_from_conditions_events_and_answers() -> None:
    begin = rollout.seconds(stamp(0))
    conditions = [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": stamp(21)},
        {"type": "Ready", "status": "True", "lastTransitionTime": stamp(50)},
    ]
    pod = {"metadata": {"uid": "1", "creationTimestamp": stamp(20)}, "status": {"conditions": conditions}}
    told = [
        {"involvedObject": {"uid": uid}, "reason": reason, "firstTimestamp": stamp(second)}
        for uid, reason, second in (("1", "Pulling", 21), ("1", "Pulled", 30), ("1", "Started", 31), ("2", "Pulled", 1))
    ]
    phases = [
        {"phase": "apply", "began": stamp(19), "seconds": 0.5},
        {"phase": "rollout", "began": stamp(20), "seconds": 31.0},
        {"phase": "smoke", "began": stamp(51), "seconds": 0.4},
    ]
    seen = {
        Progress("GPUs", 0, 0): begin + 32,
        Progress("loading", 0, 4): begin + 40,
        Progress("loading", 1, 4): begin + 41,
        Progress("loading", 4, 4): begin + 43,
        Progress("ready", 4, 4): begin + 48,
    }
    steps = rollout.steps(Cluster({rollout.EVENTS: {"items": told}}), pod, seen, phases)
    assert [(one.name.strip(), one.begin - begin, one.end - begin) for one in steps] == [
        ("apply", 19, 19.5),
        ("rollout", 20, 51),
        ("scheduled", 20, 21),
        ("image pulled and unpacked", 21, 30),
        ("container started", 30, 31),
        ("engine answers", 31, 32),
        ("engine: GPUs", 32, 40),
        ("engine: loading", 40, 48),
        ("layers loaded: 4 of 4", 41, 43),
        ("pod Ready", 50, 50),
        ("smoke", 51, pytest.approx(51.4)),
    ]
    assert steps[0].told() == "02:00:19.0 to 02:00:19.5, 0.5 s"
    with pytest.raises(WayError, match="there is no event Pulling about the pod, only Pulled, Started"):
        rollout.steps(Cluster({rollout.EVENTS: {"items": told[1:]}}), pod, seen, phases)
    with pytest.raises(WayError, match="never said that all layers are loaded"):
        rollout.engine({Progress("loading", 1, 4): begin}, begin)
