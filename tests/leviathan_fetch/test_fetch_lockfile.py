"""The lock file: held by one process and its children, released by the kernel."""

import os
import subprocess
import sys
import time
from pathlib import Path

from leviathan_fetch.lockfile import exclusive

HOLD = """
import sys, time
from pathlib import Path
from leviathan_fetch.lockfile import exclusive
with exclusive(Path(sys.argv[1]), print):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(path: Path, root: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(root / "tools")}
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def test_a_free_lock_is_taken_without_a_word(tmp_path: Path) -> None:
    said: list[str] = []
    with exclusive(tmp_path / "a" / "lock", said.append):
        assert (tmp_path / "a" / "lock").read_text() == f"{os.getpid()}\n"
    with exclusive(tmp_path / "a" / "lock", said.append):
        assert said == []


def test_a_held_lock_is_waited_for_with_its_holders_id(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "lock"
    said: list[str] = []
    child = holder(path, root)

    def say(text: str) -> None:
        said.append(text)
        child.kill()

    with exclusive(path, say):
        pass
    child.communicate()
    assert said == [f"fetch: waiting for another fetch (process {child.pid}) in this checkout"]


def test_a_child_keeps_the_lock_of_a_parent_that_died(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "lock"
    with exclusive(path, print) as handle:
        child = subprocess.Popen(["sleep", "1"], pass_fds=(handle,))
    said: list[str] = []
    start = time.monotonic()
    with exclusive(path, said.append):
        waited = time.monotonic() - start
    child.wait()
    assert waited > 0.5
    assert len(said) == 1
