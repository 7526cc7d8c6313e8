"""How soon `leviathan rollout` says the reason why a pod does not start: within 30 s of its appearing."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.replay_api import Answer, ReplayApi
from rollout_findings import EXPECTED
from rollout_stage import Stage, impatient
from rollout_support import bookmark, list_answer, scene

from leviathan.rollout.diagnose.diagnosis import diagnose
from leviathan.rollout.diagnose.finding import Commands
from leviathan.rollout.observe import reflector as feed_module
from leviathan.rollout.observe.reader import collections
from leviathan.rollout.wait import RolloutError

#: Seconds within which a reason has to be said after it has appeared.
SAID_S = 30.0


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayApi]:
    yield from impatient(monkeypatch)


@pytest.mark.parametrize("name", ["pod-security", "insufficient-gpu", "image-http-registry", "partition-missing"])
def test_reasons_are_said_when_they_are_seen(name: str, server: ReplayApi, tmp_path: Path) -> None:
    """Bound: 30 s after they appear. What the API has is in the first picture, and ends it after the patience."""
    stage = Stage(server, name, tmp_path)
    stage.health()
    error = stage.failure()
    (found,) = [each for each in error.findings if each.severity.value == "fatal"]
    assert f"fatal: {found.text()}" in stage.talk.getvalue()
    assert error.remedy == found.remedy


#: What the issue calls them → a recording whose pod, Deployment or event has that reason.
NAMED = {
    "ImagePullBackOff": "image-not-found",
    "CrashLoopBackOff": "crash",
    "Unschedulable": "insufficient-gpu",
    "OOMKilled": "out-of-memory",
    "FailedMount": "partition-missing",
}


def appearing(stage: Stage, *, mute: bool = False) -> float:
    """Have what was recorded appear in a cluster that had nothing before; the seconds until the reason is said.

    With `mute` the watches' connections are dead: they stay open and bring nothing.
    """
    stage.health()
    for kind, (path, _) in collections(stage.scene.site).items():
        found = [{"type": "ADDED", "object": each} for each in stage.scene.found[kind]]
        lists = list_answer(kind, []), list_answer(kind, stage.scene.found[kind])
        stage.server.add("GET", path, *lists, limit="500")
        lines = (bookmark(kind),) if mute else (*found, bookmark(kind))
        stage.server.add("GET", path, Answer(lines=lines, between_s=90 if mute else 0.02), watch="true")
    first = diagnose(stage.scene.snapshot(), Commands(stage.scene.site))[0]
    stage.enough, began = f": {first.what} ({first.where})", time.monotonic()
    with contextlib.suppress(RolloutError):  # some are said of a rollout that goes well
        stage.run(serve=False)
    assert stage.enough in stage.talk.getvalue()
    return time.monotonic() - began


def test_the_recordings_have_the_reasons_that_are_named() -> None:
    for reason, name in NAMED.items():
        assert f'"{reason}"' in json.dumps(scene(name).found), name


@pytest.mark.parametrize("name", [name for name, (found, _) in EXPECTED.items() if found])
def test_each_cause_is_said_within_30_s_of_its_appearing(name: str, server: ReplayApi, tmp_path: Path) -> None:
    stage = Stage(server, name, tmp_path, patience_s=100_000, timeout_s=200)
    assert appearing(stage) <= SAID_S


@pytest.mark.parametrize("reason", NAMED)
def test_nor_later_when_the_connection_has_died_unseen(reason: str, server: ReplayApi, tmp_path: Path) -> None:
    """The worst case: nothing comes and nothing breaks, for the whole time of a watch."""
    stage = Stage(server, NAMED[reason], tmp_path, patience_s=100_000, timeout_s=200)
    seconds = appearing(stage, mute=True)
    assert feed_module.WATCH_S <= seconds <= SAID_S  # the lower bound: the watch was dead indeed
