"""The one place that runs other programs."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from leviathan_fetch.errors import FetchError, InterruptedFetch

GRACE = 5.0
#: Seconds for a program that downloads: apt, Go, pip and Poetry have time-outs for silence, but none for a server that
#: drips. Far more than any of them takes on a slow line.
FETCHING_S = 4 * 3600.0
FETCHING_REMEDY = "check the network, the proxy, and the mirror or index that it uses, then run it again"
Child = subprocess.Popen[str]


class Children:
    """The programs that run now. After `stop` no other starts: threads of an interrupted fetch still run a moment."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running: set[Child] = set()
        self.stopped = False
        self.talk = False

    def start(self, argv: Sequence[str], **how: object) -> Child:
        """Start `argv` in a session of its own, so that Ctrl-C reaches this process alone.

        Errors: FetchError when the program is missing, InterruptedFetch after `stop`.
        """
        if self.talk:
            sys.stderr.write(f"+ {shlex.join(argv)}\n")
        with self.lock:
            if self.stopped:
                raise InterruptedFetch
            try:
                child: Child = subprocess.Popen(list(argv), text=True, start_new_session=True, **how)  # type: ignore[call-overload]
            except FileNotFoundError:
                what = f"the program {argv[0]} is not on PATH"
                raise FetchError(what, f"install the package that provides {argv[0]}") from None
            self.running.add(child)
            return child

    def end(self, child: Child) -> None:
        """End `child` and its session: TERM, then KILL after five seconds; only counts it out when it has ended."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if child.poll() is not None:
                break
            with suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with suppress(subprocess.TimeoutExpired):
                child.wait(timeout=GRACE)
        with self.lock:
            self.running.discard(child)

    def stop(self) -> None:
        """End all that runs, and let nothing start any more."""
        with self.lock:
            self.stopped = True
            running = list(self.running)
        for child in running:
            if child.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGTERM)
        for child in running:
            self.end(child)


CHILDREN = Children()


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
    timeout: float | None = None,
    check: bool = True,
    late: str = "run it by hand to see why",
    keep_open: Sequence[int] = (),
) -> Done:
    """Run `argv` to its end; `env` is added to the environment, `timeout` is in seconds, `late` the remedy after it.

    `keep_open` are file descriptors that the child inherits.
    Errors: FetchError when the program is missing, runs past `timeout`, or (with `check`) fails; InterruptedFetch when
    this process was told to stop meanwhile.
    """
    child = CHILDREN.start(
        argv,
        env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        errors="replace",
        pass_fds=tuple(keep_open),
    )
    try:
        stdout, stderr = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        what = f"{shlex.join(argv)} timed out after {timeout:.0f} s and was ended"
        raise FetchError(what, late) from None
    finally:
        CHILDREN.end(child)
    if CHILDREN.stopped:
        raise InterruptedFetch
    done = Done(tuple(argv), child.returncode, stdout, stderr)
    if check and done.status != 0:
        raise FetchError(f"{shlex.join(argv)} failed with status {done.status}: {done.tail()}")
    return done


def fetching(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    check: bool = True,
    keep_open: Sequence[int] = (),
) -> Done:
    """As `run`, for a program that downloads: its time limit is FETCHING_S seconds. Errors: those of `run`."""
    return run(argv, env=env, cwd=cwd, check=check, keep_open=keep_open, timeout=FETCHING_S, late=FETCHING_REMEDY)
