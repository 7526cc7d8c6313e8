"""The one place that runs other programs."""

import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from leviathan.errors import ProcessError

#: Environment that children may see: a child gets these and what `env` adds, nothing else.
PASSED_ON = ("PATH", "HOME", "USER", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DBUS_SESSION_BUS_ADDRESS")
#: Seconds between TERM and KILL.
GRACE_S = 5.0


@dataclass(frozen=True)
class Done:
    """What a program left behind: its exit status and its two streams as text."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    def tail(self, lines: int = 3) -> str:
        """The last `lines` non-empty lines of stderr (of stdout when stderr is empty), joined by ` | `."""
        text = self.stderr if self.stderr.strip() else self.stdout
        return " | ".join([line.strip() for line in text.splitlines() if line.strip()][-lines:])


def redacted(text: str, secrets: Sequence[str]) -> str:
    """`text` with each of `secrets`, also in its quoted form, replaced by `***`."""
    for secret in filter(None, secrets):
        text = text.replace(shlex.quote(secret), "***").replace(secret, "***")
    return text


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    timeout_s: float = 60.0,
    check: bool = True,
    secrets: Sequence[str] = (),
    log: Callable[[str], None] | None = None,
) -> Done:
    """Run `argv` to its end and return its status and streams.

    Arguments: `env` is added to the variables named in `PASSED_ON`; `stdin` is the child's whole input; past
    `timeout_s` seconds the child and its group get TERM and, five seconds later, KILL; `secrets` never appear in the
    log or an error; `log` receives the command line before it runs.
    Errors: ProcessError when the program is missing, runs too long, or (with `check`) ends with another status than 0.
    """
    line = redacted(shlex.join(argv), secrets)
    if log is not None:
        log(f"+ {line}")
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    try:
        child = subprocess.Popen(
            list(argv),
            env={**environment, "LC_ALL": "C.UTF-8", **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except (FileNotFoundError, PermissionError) as error:
        raise ProcessError(
            f"cannot run {argv[0]}", why=error.strerror or str(error), remedy=f"install {argv[0]} or put it on PATH"
        ) from None
    try:
        stdout, stderr = child.communicate(stdin, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise ProcessError(
            f"{argv[0]} did not end", where=line, why=f"it ran past {timeout_s:g} s", remedy=f"run it by hand: {line}"
        ) from None
    finally:
        end(child)
    done = Done(tuple(argv), child.returncode, stdout, stderr)
    if check and done.status != 0:
        why = redacted(done.tail(), secrets) or "it said nothing"
        raise ProcessError(
            f"{argv[0]} failed with status {done.status}",
            where=line,
            why=why,
            remedy=f"run it by hand: {line}",
            status=done.status,
        )
    return done


def end(child: "subprocess.Popen[str]") -> None:
    """End `child` and its whole group: TERM, then KILL after `GRACE_S`; nothing when it has ended."""
    if child.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        try:
            child.wait(timeout=GRACE_S)
            return
        except subprocess.TimeoutExpired:
            continue
    child.wait()
