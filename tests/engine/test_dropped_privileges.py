"""What each thread of launcher, front and engine may still do once the engine runs, as the kernel has it.

It takes root, which the launcher is in the privileged pod, and a user namespace that has the users of front and worker:
a build sandbox has neither.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

if os.environ.get("LEVIATHAN_ENGINE") != "required":
    for module in ("torch", "ktransformers"):
        pytest.importorskip(module)

import httpx
from launcher_process import Running

from leviathan_engine.launcher import users
from leviathan_engine.machine.privileges import CAP_KILL

MAP = [[int(word) for word in line.split()] for line in Path("/proc/self/uid_map").read_text().splitlines()]
MAPPED = any(first <= users.FRONT < first + count for first, _outside, count in MAP)
pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not MAPPED, reason="it takes root, and users to become")
CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
PROGRAMS = {"launcher": b"leviathan_engine", "front": b"leviathan_engine.front", "engine": b"leviathan_engine.worker"}


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """Everything lies where every user may look, as in the image; pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory(prefix="leviathan-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        stack = Running(Path(folder))
        try:
            stack.wait()
            yield stack
        finally:
            stack.end()


def threads(pid: int) -> list[dict[str, list[str]]]:
    """What the kernel says of each thread of a process."""
    files = Path(f"/proc/{pid}/task").glob("*/status")
    return [{name: words.split() for name, words in lines(file)} for file in files]


def lines(file: Path) -> list[tuple[str, str]]:
    """The names and values of a status file."""
    pairs = (line.partition(":") for line in file.read_text().splitlines())
    return [(name, value) for name, _, value in pairs]


@pytest.mark.parametrize(
    ("program", "user", "keep"),
    [("launcher", 0, (CAP_KILL,)), ("front", users.FRONT, ()), ("engine", users.ENGINE, ())],
)
def test_nothing_is_left_that_is_not_needed(running: Running, program: str, user: int, keep: tuple[int, ...]) -> None:
    launcher = running.process.pid
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    found = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in (launcher, *map(int, children))}
    (pid,) = [pid for pid, words in found.items() if PROGRAMS[program] in words]
    found_threads = threads(pid)
    if program == "engine":
        # The shims of these tests have torch start threads before the engine's first line; in the image nothing does:
        # leviathan_engine/test_privileges.py, test_there_is_one_thread_when_privileges_are_given_up.
        found_threads = [thread for thread in found_threads if thread["Pid"] == thread["Tgid"]]
    for thread in found_threads:
        where = f"{program}, thread {thread['Pid'][0]} ({thread['Name'][0]})"
        assert thread["NoNewPrivs"] == ["1"], where
        assert thread["Uid"] == [str(user)] * 4, f"{where}: {running.said()}"
        mask = sum(1 << number for number in keep)
        for name in CAPABILITIES:
            expected = mask if name in ("CapPrm", "CapEff", "CapBnd") else 0
            assert int(thread[name][0], 16) == expected, f"{where}: {name}"


def test_it_answers_all_the_same(running: Running) -> None:
    ask = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2, "temperature": 0}
    assert httpx.post(running.url + "/v1/chat/completions", json=ask, timeout=240).status_code == 200
