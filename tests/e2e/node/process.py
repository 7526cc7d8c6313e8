"""Runs one container and tells how it ended; the agent's side of `enter`."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .container import Plan
from .logs import LogWriter

ROOT = Path(__file__).parents[2]
START_S = 120.0


class StartError(Exception):
    """The container could not be started; the text is what containerd and runc would say."""


@dataclass(frozen=True)
class Ending:
    """How a container ended: exit code as a shell counts, the signal that ended it or 0, and when (since 1970, s)."""

    code: int
    signal: int
    finished: float


class Process:
    """A running container."""

    def __init__(self, plan: Plan, log: Path, network: int | None, ended: Callable[[], None]) -> None:
        """Starts it, its output into `log`. `network`: a namespace's descriptor, None for the host's; `ended` is called
        from a thread of its own when it has. Errors: StartError."""
        spec = Path(plan.work) / "plan.json"
        plan.write(spec)
        self._ended = ended
        self.ending: Ending | None = None
        status, status_writer = os.pipe()
        lifeline_reader, self._lifeline = os.pipe()
        passed = [status_writer, lifeline_reader, *([network] if network is not None else [])]
        words = [str(spec), str(status_writer), str(lifeline_reader), str(-1 if network is None else network)]
        try:
            self._shim = subprocess.Popen(
                [sys.executable, "-S", "-B", "-m", "e2e.node.enter", *words],
                env={"PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=passed,
                start_new_session=True,
            )
        finally:
            os.close(status_writer)
            os.close(lifeline_reader)
        self._log = LogWriter(log)
        assert self._shim.stdout is not None
        assert self._shim.stderr is not None
        self._log.pump(self._shim.stdout, "stdout")
        self._log.pump(self._shim.stderr, "stderr")
        self._lock = threading.Lock()
        self._status = os.fdopen(status, "rb")
        first = json.loads(self._status.readline() or b"{}")
        if "started" not in first:
            self._close()
            raise StartError(str(first.get("failed", "the container's keeper has ended; its log says why")))
        self.pid = int(first["started"])
        self.started = time.time()
        threading.Thread(target=self._wait, daemon=True, name=f"wait {self.pid}").start()

    def signal(self, number: int) -> None:
        """Send a signal to the container's first process; one that has ended gets none."""
        with self._lock:
            if self._lifeline >= 0:
                try:
                    os.write(self._lifeline, bytes([number]))
                except BrokenPipeError:
                    return

    def _wait(self) -> None:
        last = json.loads(self._status.readline() or b'{"exit": 255, "signal": 0}')
        self._close()
        self.ending = Ending(int(last["exit"]), int(last["signal"]), time.time())
        self._ended()

    def _close(self) -> None:
        self._shim.wait()
        self._status.close()
        self._log.finish()
        with self._lock:
            os.close(self._lifeline)
            self._lifeline = -1
