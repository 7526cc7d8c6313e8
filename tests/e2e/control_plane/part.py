"""One process of the control plane: started in a session of its own; ended, killed, halted by its id."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from .api import wait
from .errors import ControlPlaneError


def started_at(pid: int) -> str:
    """When a process was started, in ticks since boot (proc(5), /proc/PID/stat field 22); "" when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()  # the name may hold spaces and parentheses; field 3 follows it
    return "" if fields[0] == "Z" else fields[19]


class Part:
    """A program with its log and pid file in `folder`. `name` is for people."""

    def __init__(self, name: str, argv: Sequence[str], folder: Path) -> None:
        self.name = name
        self.argv = list(argv)
        self.log = folder / f"{name}.log"
        self.record = folder / f"{name}.pid"
        self.child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's id. Errors: ControlPlaneError when it does not run."""
        if self.child is None or self.child.poll() is not None:
            raise ControlPlaneError(f"{self.name} does not run", f"its log is {self.log}")
        return self.child.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.child is not None and self.child.poll() is None

    def start(self) -> None:
        """Start it; its output is appended to the log. Errors: ControlPlaneError when it cannot be run."""
        self.end_earlier()
        with self.log.open("ab") as log:
            try:
                self.child = subprocess.Popen(
                    self.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    env=self.environ(),
                )
            except OSError as error:
                raise ControlPlaneError(f"{self.argv[0]} cannot be run: {error.strerror}") from None
        self.record.write_text(f"{self.child.pid} {started_at(self.child.pid)}\n", encoding="ascii")

    def environ(self) -> dict[str, str]:
        """A process's environment: nothing of this machine's but PATH, so no proxy setting leads off loopback."""
        return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.log.parent)}

    def end_earlier(self) -> None:
        """End what an earlier run, killed before it could clean up, left under the same pid file."""
        try:
            number, when = self.record.read_text(encoding="ascii").split()
        except (OSError, ValueError):
            return
        if when and started_at(int(number)) == when:
            with suppress(ProcessLookupError):
                os.kill(int(number), signal.SIGCONT)
                os.kill(int(number), signal.SIGKILL)
            for _ in range(100):
                if started_at(int(number)) != when:
                    break
                time.sleep(0.05)
        self.record.unlink(missing_ok=True)

    def stop(self, grace: float = 20.0) -> None:
        """End it: TERM, then KILL after `grace` seconds."""
        if self.child is None:
            return
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
            if self.child.poll() is not None:
                break
            self.child.send_signal(signal.SIGCONT)
            self.child.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self.child.wait(timeout=patience)
        self.record.unlink(missing_ok=True)

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        os.kill(self.pid, signal.SIGKILL)
        self.stop()

    def pause(self) -> None:
        """Stop it from running (SIGSTOP); its sockets stay open, nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run on."""
        os.kill(self.pid, signal.SIGCONT)

    def wait_for(self, what: str, true: Callable[[], bool], seconds: float = 90.0) -> None:
        """Wait until `true()`. Errors: ControlPlaneError with its last words, when it ends or is not in time."""

        def still() -> bool:
            if not self.alive:
                raise ControlPlaneError(f"{self.name} has ended: {self.last_words()}", f"read {self.log}")
            return true()

        wait(f"{what} ({self.log})", still, seconds)

    def last_words(self, lines: int = 3) -> str:
        """The last lines of its log, for an error."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return " | ".join(text.strip().splitlines()[-lines:])
