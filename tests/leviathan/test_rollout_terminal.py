"""The live table of `leviathan rollout` in a real terminal: drawn in place, in windows of every size, left behind."""

import contextlib
import os
import random
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.replay_api import Answer, ReplayApi
from push_support import TOOLS
from rollout_support import LOADING, Scene, scene
from terminal import Screen, Session, session

from leviathan.cluster.objects import name_of

#: Seconds in which Ctrl-C has to end the command, on a machine with nothing else to do.
SOON_S = 1.0
HEAD = "rollout: "
#: Rows that are enough for the widest table with all its lines broken: what has scrolled off cannot be taken away.
TALL = 300
Start = Callable[..., Session]


def node_port() -> int:
    """A port of the NodePort range where nothing listens."""
    for port in random.sample(range(30000, 32768), 200):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no port between 30000 and 32767 is free")


@pytest.fixture
def recorded() -> Scene:
    """A rollout that takes long, with events and one finding that is waited for."""
    return scene("deadline")


@pytest.fixture
def start(recorded: Scene, tmp_path: Path) -> Iterator[Start]:
    """Starts the command in a terminal: its model is loaded by one layer more each time that it is asked."""
    server, port = ReplayApi(), node_port()
    recorded.at(f"http://127.0.0.1:{port}")
    recorded.serve(server)
    pod = f"/api/v1/namespaces/ai-workloads/pods/{name_of(recorded.pod)}"
    health = [Answer(503, body=LOADING | {"layers_loaded": layer, "percent": float(layer)}) for layer in range(12, 61)]
    server.add("GET", f"{pod}:30000/proxy/health", *health)
    server.add("GET", f"{pod}/log", Answer(text="line\n"))
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(TOOLS),
        "HOME": str(tmp_path),
        "KUBECONFIG": str(server.kubeconfig(tmp_path)),
        "TERM": "xterm-256color",
    }
    settings = ["--set", "cluster.address=127.0.0.1", "--set", f"engine.node_port={port}"]
    sessions = []

    def begin(screen: Screen) -> Session:
        screen.feed("$ leviathan rollout\r\n")
        context = session([sys.executable, "-m", "leviathan", "rollout", *settings], environ, screen)
        sessions.append(context)
        return context.__enter__()

    yield begin
    for context in sessions:
        context.__exit__(None, None, None)
    server.close()


def heads(rows: list[str]) -> list[str]:
    """The first lines of all tables that stand in these rows."""
    return [row for row in rows if row.startswith(HEAD)]


def seconds_of(running: Session) -> int:
    """The time that the last table says; -1 while none is whole."""
    found = re.findall(r"^rollout: (?:(\d+) min )?(\d+) s", "\n".join(running.rows()), re.MULTILINE)
    return int(found[-1][0] or 0) * 60 + int(found[-1][1]) if found else -1


def drawn_again(running: Session, times: int = 2) -> list[str]:
    """The rows on the screen after it has been drawn at least so many times more."""
    before, ends = seconds_of(running), time.monotonic() + 20
    while seconds_of(running) < before + times:
        assert time.monotonic() < ends, "it is not drawn again\n" + "\n".join(running.rows())
        time.sleep(0.02)
    time.sleep(0.1)  # what is under way arrives
    return running.rows()


def interrupted(running: Session, keys: str = "\x03") -> None:
    """Press Ctrl-C: it ends in time, with 130, a word, and the terminal as it was."""
    before, began = running.settings(), time.monotonic()
    running.press(keys)
    status = running.wait()
    seconds = time.monotonic() - began
    assert status == 130, running.screen.all
    assert seconds <= SOON_S * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert running.screen.cursor_visible
    said = [row for row in running.screen.all if row not in ("", "^C")]
    assert said[-1].removeprefix("^C") == "stopped", said  # the terminal echoes the second one, where the cursor is
    assert running.settings() == before
    assert "Traceback" not in "\n".join(running.screen.all)


def test_it_is_drawn_in_place(start: Start) -> None:
    running = start(Screen(40, 120))
    running.until("layer 12 of 61")
    assert not running.screen.cursor_visible  # the control of what is asserted at the end
    height = len(running.screen.all)
    running.until("layer 14 of 61")
    rows = drawn_again(running)
    assert rows[0] == "$ leviathan rollout"
    assert len(heads(running.screen.all)) == 1
    assert sum("wait: " in row for row in rows) == 1
    assert len(running.screen.all) <= height + 1
    interrupted(running)
    assert len(heads(running.screen.all)) == 1  # the last state stays


@pytest.mark.parametrize("breaks", [True, False], ids=["a terminal that breaks lines", "one that cuts them off"])
def test_a_window_that_gets_narrow_and_wide_again(breaks: bool, start: Start) -> None:
    running = start(Screen(TALL, 150, breaks=breaks))
    running.until("layer 12 of 61")
    for width in (44, 20, 150):
        running.resize(TALL, width)
        rows = drawn_again(running, 3)
        assert len(heads(running.screen.all)) == 1, "\n".join(running.screen.all)
        assert not any(row.broken for row in running.screen.rows[rows.index(heads(rows)[0]) :])
        assert max(map(len, rows[rows.index(heads(rows)[0]) :])) <= width
    assert sum("wait: " in row for row in rows) == 1
    interrupted(running)


def test_a_window_that_gets_short_and_tall_again(start: Start) -> None:
    running = start(Screen(40, 100))
    running.until("layer 12 of 61")
    running.resize(6, 100)
    rows = drawn_again(running, 2)
    scrolled = running.screen.top
    assert len(heads(rows)) == 1
    assert rows[-1].strip() == "..."  # there is more
    drawn_again(running, 3)
    assert running.screen.top == scrolled
    running.resize(40, 100)
    drawn_again(running, 2)
    rows = running.screen.seen
    assert any("wait: " in row for row in rows[rows.index(heads(rows)[-1]) :])
    interrupted(running)


def test_a_window_that_was_small_from_the_start(start: Start) -> None:
    running = start(Screen(4, 24))
    running.until("...")
    scrolled = len(running.screen.all)
    drawn_again(running, 3)
    assert len(running.screen.all) == scrolled
    assert len(heads(running.screen.all)) == 1
    interrupted(running)
    assert any("waited" not in row and "wait: " in row for row in running.screen.all)  # the whole of it in the end


def test_ctrl_c_as_soon_as_the_cursor_is_hidden(start: Start) -> None:
    running = start(Screen(40, 120))
    ends = time.monotonic() + 30
    while running.screen.cursor_visible:
        assert time.monotonic() < ends
        time.sleep(0.001)
    interrupted(running)


@pytest.mark.parametrize("pause_s", [0.0, 0.002, 0.02, 0.1])
def test_ctrl_c_twice(pause_s: float, start: Start) -> None:
    running = start(Screen(40, 120))
    running.until("layer 12 of 61")
    running.press("\x03")
    time.sleep(pause_s)
    interrupted(running)


def test_a_terminal_that_is_closed_ends_it(start: Start) -> None:
    running = start(Screen(40, 120))
    running.until("layer 12 of 61")
    os.kill(running.pid, signal.SIGHUP)
    assert running.wait() == 130
    assert running.screen.cursor_visible
