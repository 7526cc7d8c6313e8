"""The one place that runs other programs."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leviathan_fetch.errors import FetchError

DEBUG = False


@dataclass(frozen=True)
class Done:
    """What a program left behind: its exit status and its two streams as text."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    def tail(self, lines: int = 3) -> str:
        """The last `lines` non-empty lines of stderr (stdout when stderr is empty), joined for a one-line error."""
        text = self.stderr if self.stderr.strip() else self.stdout
        return " | ".join([line.strip() for line in text.splitlines() if line.strip()][-lines:])


def available(program: str) -> bool:
    """Whether `program` (a name on PATH or a path) can be run."""
    return shutil.which(program) is not None


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
    check: bool = True,
    keep_open: Sequence[int] = (),
) -> Done:
    """Run `argv` to its end; `env` is added to the environment, `timeout` is in seconds.

    The child has a session of its own: Ctrl-C reaches this process only, which then ends the child (TERM, after five
    seconds KILL). `keep_open` are file descriptors that the child inherits.
    Errors: FetchError when the program is missing, runs past `timeout`, or (with `check`) fails.
    """
    command = shlex.join(argv)
    if DEBUG:
        print(f"+ {command}", file=sys.stderr)  # noqa: T201
    try:
        child = subprocess.Popen(
            list(argv),
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
            cwd=cwd,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
            pass_fds=tuple(keep_open),
        )
    except FileNotFoundError:
        raise FetchError(f"{argv[0]} is not on this machine", f"install the package that has {argv[0]}") from None
    try:
        stdout, stderr = child.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise FetchError(f"{command} ran past {timeout:.0f} s and was ended", "run it by hand to see why") from None
    finally:
        end(child)
    done = Done(tuple(argv), child.returncode, stdout, stderr)
    if check and done.status != 0:
        raise FetchError(f"{command} failed with status {done.status}: {done.tail()}")
    return done


def end(child: "subprocess.Popen[str]") -> None:
    """End `child` and all of its session: TERM, then KILL after five seconds; nothing when it has ended."""
    if child.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        try:
            child.wait(timeout=5)
            return
        except subprocess.TimeoutExpired:
            continue
    child.wait()
