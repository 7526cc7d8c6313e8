"""Running programs: errors are one line, and children end with us."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from leviathan_fetch import process
from leviathan_fetch.errors import FetchError, InterruptedFetch

STUBBORN = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def test_a_programs_streams_and_status() -> None:
    done = process.run([sys.executable, "-c", "import sys; print('out'); sys.exit('bad')"], check=False)
    assert (done.status, done.stdout, done.stderr) == (1, "out\n", "bad\n")
    with pytest.raises(FetchError, match="failed with status 1: bad"):
        process.run([sys.executable, "-c", "import sys; sys.exit('bad')"])


def test_a_missing_program() -> None:
    with pytest.raises(FetchError, match="no-such-program is not on PATH"):
        process.run(["no-such-program"])
    assert not process.available("no-such-program")
    assert process.available(sys.executable)


def test_a_program_past_its_time_is_ended() -> None:
    with pytest.raises(FetchError, match=r"timed out after 1 s and was ended"):
        process.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout=0.6)
    assert process.CHILDREN.running == set()


def test_the_tail_is_the_last_lines_that_say_something() -> None:
    assert process.Done((), 1, "out\n", "a\nb\n\nc\n d \n").tail() == "b | c | d"
    assert process.Done((), 1, "out\n", "\n").tail() == "out"


def test_a_child_that_ignores_term_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE", 0.3)
    children = process.Children()
    child = children.start([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    children.end(child)
    child.stdout.close()
    assert child.returncode == -signal.SIGKILL


def test_stop_ends_grandchildren_and_starts_nothing_more(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    children = process.Children()
    children.start(["bash", "-c", 'sleep 60 & echo $! >"$1"; wait', "bash", str(pid_file)])
    while not pid_file.exists() or not pid_file.read_text():
        time.sleep(0.02)
    children.stop()
    grandchild = int(pid_file.read_text())
    for _ in range(100):
        state = stat_of(grandchild)
        if state in ("", "Z"):
            break
        time.sleep(0.02)
    assert state in ("", "Z")
    with pytest.raises(InterruptedFetch):
        children.start(["true"])


def stat_of(pid: int) -> str:
    """The state letter of a process, nothing when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_thread_in_run_learns_of_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    children = process.Children()
    monkeypatch.setattr(process, "CHILDREN", children)
    raised: list[InterruptedFetch] = []

    def work() -> None:
        try:
            process.run(["sleep", "60"])
        except InterruptedFetch as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while not children.running:
        time.sleep(0.01)
    children.stop()
    thread.join(10)
    assert len(raised) == 1


def test_ctrl_c_does_not_reach_children() -> None:
    done = process.run([sys.executable, "-c", "import os; print(os.getpid() == os.getsid(0))"])
    assert done.stdout == "True\n"
