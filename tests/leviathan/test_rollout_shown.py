"""What `leviathan rollout` shows while it waits: a live table on a terminal, a heartbeat without one."""

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.replay_api import Answer, ReplayApi
from rollout_stage import LOG, Stage, impatient
from rollout_support import LOADING, cluster_of, scene

from leviathan.rollout.diagnose.diagnosis import diagnose
from leviathan.rollout.diagnose.finding import Commands
from leviathan.rollout.show import live_table as table_module
from leviathan.rollout.show.view import Moment
from leviathan.rollout.wait import RolloutError, run
from leviathan.terminal.output import Console


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayApi]:
    yield from impatient(monkeypatch)


def test_heartbeat_without_a_terminal(server: ReplayApi, tmp_path: Path) -> None:
    stage = Stage(server, "pulling", tmp_path, heartbeat_s=1, timeout_s=5)
    stage.health()
    stage.failure()
    beats = [line for line in stage.talk.getvalue().splitlines() if line.endswith("pulling the image")]
    assert len(beats) >= 2
    assert "\x1b" not in stage.talk.getvalue()


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_one_live_table_on_a_terminal(server: ReplayApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "160")
    stage = Stage(server, "startup-probe", tmp_path)
    screen = Screen()
    stage.health(Answer(503, body=LOADING))
    stage.log(LOG[:3])
    stage.scene.serve(server)

    def clock() -> float:
        return time.monotonic() + (10_000 if "layer 12 of 61" in screen.getvalue() else 0)

    with pytest.raises(RolloutError):
        run(stage.scene.site, cluster_of(server, tmp_path), Console(screen, clock=clock))
    shown = screen.getvalue()
    assert "\x1b[" in shown
    for text in (
        "deployment",
        "container",
        "running for",
        "restarts",
        "Completed, exit code 0",
        "wait: ",
        "  | line 2",
    ):
        assert text in shown


def render(moment: Moment, width: int) -> str:
    from rich.console import Console as RichConsole  # noqa: PLC0415

    console = RichConsole(file=io.StringIO(), width=width, force_terminal=False)
    console.print(table_module.picture(moment))
    stream: Any = console.file
    return str(stream.getvalue())


@pytest.mark.parametrize("width", [40, 80, 200])
def test_table_fits_every_width(width: int) -> None:
    recorded = scene("startup-probe")
    snapshot = recorded.snapshot()
    moment = Moment(snapshot, diagnose(snapshot, Commands(recorded.site)), 61, 1688, 3)
    picture = render(moment, width)
    assert max(len(line) for line in picture.splitlines()) <= width
    assert "rollout: 1 min 1 s of 28 min 8 s" in picture.replace("\n", " ").replace("  ", " ")
