"""A feed keeps up with its collection whatever ends a watch: its time, a cut, 410, a server that is away."""

import copy
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.replay_api import Answer, ReplayApi, until
from rollout_support import bookmark, cluster_of, list_answer, scene

from leviathan.cluster.objects import name_of
from leviathan.rollout.observe import reflector as feed_module
from leviathan.rollout.observe.reflector import Reflector

PATH = "/api/v1/namespaces/ai-workloads/pods"
QUIET = Answer(lines=(bookmark("Pod"),), between_s=2.0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayApi]:
    monkeypatch.setattr(feed_module, "PAUSE_S", 0.05)
    replay = ReplayApi()
    yield replay
    replay.close()


def pod(name: str) -> dict[str, Any]:
    each = copy.deepcopy(scene("loading").pod)
    each["metadata"] |= {"name": name, "uid": f"uid-{name}"}
    return each


def event(kind: str, name: str) -> dict[str, Any]:
    return {"type": kind, "object": pod(name)}


class Running:
    """A feed of pods that runs, and counts its changes."""

    def __init__(self, server: ReplayApi, folder: Path, **seconds: float) -> None:
        self.changes = 0
        self.stop = threading.Event()
        self.feed = Reflector(
            cluster_of(server, folder, **seconds), PATH, {"labelSelector": "app=x"}, changed=self.count, stop=self.stop
        )
        self.feed.start()

    def count(self) -> None:
        self.changes += 1

    def names(self) -> list[str]:
        return sorted(name_of(each) for each in self.feed.objects())


def watched(server: ReplayApi) -> list[str]:
    return [each.query["resourceVersion"] for each in server.asked if "watch" in each.query]


def listed(server: ReplayApi) -> int:
    return sum("watch" not in each.query for each in server.asked)


def test_list_then_changes(server: ReplayApi, tmp_path: Path) -> None:
    lines = (event("ADDED", "b"), event("MODIFIED", "a"), event("DELETED", "a"), bookmark("Pod"))
    server.add("GET", PATH, list_answer("pods", [pod("a")], "70"), limit="500")
    server.add("GET", PATH, Answer(lines=lines, between_s=0.1), QUIET, watch="true")
    running = Running(server, tmp_path)
    assert until(lambda: running.names() == ["a", "b"])
    assert until(lambda: running.names() == ["b"])
    running.stop.set()
    assert watched(server)[0] == "70"
    assert server.asked[0].query["labelSelector"] == "app=x"
    assert server.asked[1].query["labelSelector"] == "app=x"
    assert running.changes >= 4
    assert running.feed.objects()[0]["kind"] == "Pod"


def test_pages(server: ReplayApi, tmp_path: Path) -> None:
    first, second = list_answer("pods", [pod("a")]), list_answer("pods", [pod("b")], "71")
    first.body["metadata"]["continue"] = "more"
    server.add("GET", PATH, second, **{"continue": "more"})
    server.add("GET", PATH, first, limit="500")
    server.add("GET", PATH, QUIET, watch="true")
    running = Running(server, tmp_path)
    assert until(lambda: running.names() == ["a", "b"])
    running.stop.set()
    assert until(lambda: watched(server) == ["71"])


@pytest.mark.parametrize(
    "end",
    [
        Answer(lines=(event("MODIFIED", "a"),)),
        Answer(lines=(event("MODIFIED", "a"),), cut=True),
        Answer(lines=({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}},)),
        Answer(status=410, body={"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}),
        Answer(status=500, body={"kind": "Status", "code": 500, "message": "etcd leader changed"}),
    ],
    ids=["ended", "cut", "expired in the stream", "expired at once", "failed"],
)
def test_after_every_end_of_a_watch_comes_a_list(end: Answer, server: ReplayApi, tmp_path: Path) -> None:
    """What happened in between is in the list: `a` is gone, `b` is there."""
    first, second = list_answer("pods", [pod("a")], "70"), list_answer("pods", [pod("b")], "90")
    server.add("GET", PATH, first, second, limit="500")
    server.add("GET", PATH, end, QUIET, watch="true")
    running = Running(server, tmp_path, again_s=0.1)
    assert until(lambda: running.names() == ["b"])
    assert until(lambda: watched(server)[-1] == "90")
    running.stop.set()
    assert listed(server) == 2


def test_a_server_that_is_away_is_noticed_and_found_again(server: ReplayApi, tmp_path: Path) -> None:
    """Lists that break off without an answer, as from a server that restarts; then it answers again."""
    away = [Answer(cut=True, after_s=0.2)] * 5
    server.add("GET", PATH, list_answer("pods", [pod("a")]), *away, list_answer("pods", [pod("b")]), limit="500")
    server.add("GET", PATH, Answer(lines=(), cut=True), QUIET, watch="true")
    running = Running(server, tmp_path, again_s=0.3)
    assert until(lambda: running.feed.silent_s() > 0.4)
    assert running.names() == ["a"]  # what was known stays
    assert until(lambda: running.names() == ["b"])
    assert running.feed.silent_s() == 0.0
    running.stop.set()


def test_what_may_not_be_read_is_asked_again(server: ReplayApi, tmp_path: Path) -> None:
    no = Answer(status=403, body={"kind": "Status", "code": 403, "reason": "Forbidden", "message": "no"})
    server.add("GET", PATH, no, no, list_answer("pods", [pod("a")]), limit="500")
    server.add("GET", PATH, QUIET, watch="true")
    running = Running(server, tmp_path)
    assert running.feed.listed.wait(3)
    assert until(lambda: running.names() == ["a"])
    assert not running.feed.forbidden
    running.stop.set()


def test_forbidden_is_kept_apart_from_empty(server: ReplayApi, tmp_path: Path) -> None:
    no = Answer(status=403, body={"kind": "Status", "code": 403, "reason": "Forbidden", "message": "no"})
    server.add("GET", PATH, no, limit="500")
    running = Running(server, tmp_path)
    assert until(lambda: running.feed.forbidden)
    assert running.feed.silent_s() == 0.0
    running.stop.set()


def test_a_watch_that_is_closed_at_once_is_not_asked_as_fast_as_it_can_be(server: ReplayApi, tmp_path: Path) -> None:
    server.add("GET", PATH, list_answer("pods", []), limit="500")
    server.add("GET", PATH, Answer(lines=()), watch="true")
    running = Running(server, tmp_path)
    time.sleep(0.6)
    running.stop.set()
    assert 2 <= listed(server) <= 14
