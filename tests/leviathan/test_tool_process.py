"""The one place that runs programs, with real programs."""

import os
import sys
import time
from pathlib import Path

import pytest

from leviathan.errors import ProcessError
from leviathan.process import redacted, run


def test_streams_status_and_input() -> None:
    done = run([sys.executable, "-c", "import sys; print(input()); print('talk', file=sys.stderr)"], stdin="word\n")
    assert (done.status, done.stdout, done.stderr) == (0, "word\n", "talk\n")


def test_environment_is_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURPRISE", "1")
    done = run([sys.executable, "-c", "import os; print(sorted(os.environ))"], env={"SAID": "1"})
    assert "'SAID'" in done.stdout
    assert "'PATH'" in done.stdout
    assert "SURPRISE" not in done.stdout


def test_failure_names_command_status_and_last_words() -> None:
    with pytest.raises(
        ProcessError, match=r"sh failed with status 3 \(sh -c 'echo why >&2; exit 3'\): why; fix: "
    ) as caught:
        run(["sh", "-c", "echo why >&2; exit 3"])
    assert caught.value.status == 3
    assert run(["sh", "-c", "exit 3"], check=False).status == 3


def test_missing_program() -> None:
    with pytest.raises(ProcessError, match="cannot run no-such-program: No such file or directory; fix: install"):
        run(["no-such-program"])


def test_secrets_are_not_shown() -> None:
    logged: list[str] = []
    with pytest.raises(ProcessError) as caught:
        run(["sh", "-c", "echo no: $1 >&2; exit 1", "sh", "pass word"], secrets=["pass word", ""], log=logged.append)
    assert "***" in logged[0]
    assert "pass word" not in logged[0] + str(caught.value)
    assert redacted("a 'x y' x y", ["x y"]) == "a *** ***"


def test_time_out_ends_the_whole_group(tmp_path: Path) -> None:
    """A child that ignores TERM, with a child of its own, is gone when the call returns."""
    script = f"trap '' TERM; sleep 60 & echo $! > {tmp_path}/pid; wait; sleep 60"
    began = time.monotonic()
    with pytest.raises(ProcessError, match=r"sh did not end .*ran past 0.5 s"):
        run(["sh", "-c", script], timeout_s=0.5)
    assert time.monotonic() - began < 30
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] == "Z":
            return  # ended; whoever is process 1 here has not reaped it yet
        time.sleep(0.05)
    pytest.fail("the grandchild lives on")
