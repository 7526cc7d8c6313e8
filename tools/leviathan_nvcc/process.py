"""Runs the tools: the one place that starts processes, shows commands and stops everything on a signal."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import TextIO

from leviathan_nvcc.errors import NvccError, ToolFailed

_POLL = 0.1
"""Seconds between two looks for a signal while commands run."""


_COUNT = re.compile(r"^\d+ warnings? generated[^\n]*\n", re.MULTILINE)
"""clang's last line, which names the pass and so would make equal messages of two passes differ."""


@dataclass(frozen=True)
class Job:
    """A command.

    Arguments:
        argv: its words.
        quiet: what of its output is printed if it succeeds; everything by default.
    """

    argv: Sequence[str]
    quiet: Callable[[str], str] = str


class Runner:
    """Runs commands, several at once, and says what they say.

    Arguments:
        threads: how many commands at once.
        stderr: where commands and the tools' messages go.
        show: print each command before it runs, after nvcc's ``#$``.
        dry: print and run nothing.
    """

    def __init__(self, threads: int, stderr: TextIO, show: bool = False, dry: bool = False) -> None:
        self.dry = dry
        self._threads = threads
        self._stderr = stderr
        self._show = show or dry
        self._lock = threading.Lock()
        self._children: set[subprocess.Popen[str]] = set()
        self._stopped = False
        self._said: set[str] = set()
        self._signal: int | None = None

    def say(self, text: str) -> None:
        """Prints a tool's message, each distinct one once: every architecture's pass warns of the same lines."""
        with self._lock:
            if text and text not in self._said:
                self._said.add(text)
                self._stderr.write(text if text.endswith("\n") else text + "\n")
                self._stderr.flush()

    def announce(self, argv: Sequence[str]) -> None:
        """Prints a command if commands are shown."""
        if self._show:
            with self._lock:
                self._stderr.write(f"#$ {shlex.join(argv)}\n")
                self._stderr.flush()

    def run(self, argv: Sequence[str], quiet: Callable[[str], str] = str) -> str:
        """Runs one command; see :meth:`all`."""
        return self.all([Job(argv, quiet)])[0]

    def all(self, jobs: Sequence[Job]) -> list[str]:
        """Runs commands in parallel and returns what each wrote to both its streams, in order.

        Errors:
            ToolFailed: a command exited with another status than 0; all of its output is printed, the others are ended.
                Or a signal arrived.
            NvccError: one could not be started.
        """
        pool = ThreadPoolExecutor(max_workers=1 if self.dry else max(1, self._threads))
        try:
            futures = [pool.submit(self._run, job) for job in jobs]
            pending = set(futures)
            while pending:
                self._check_signal()
                done, pending = wait(pending, timeout=_POLL, return_when=FIRST_EXCEPTION)
                for failure in filter(None, [future.exception() for future in futures if future in done]):
                    raise failure
        except BaseException:
            self.stop()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
        return [future.result() for future in futures]

    def interrupt(self, number: int) -> None:
        """For a signal handler: notes the signal and does nothing else, so that it may arrive at any moment."""
        self._signal = number

    def _check_signal(self) -> None:
        if self._signal is not None:
            raise ToolFailed(128 + self._signal)

    def _run(self, job: Job) -> str:
        self.announce(job.argv)
        if self.dry:
            return ""
        child = self._start(job.argv)
        try:
            text, _ = child.communicate()
        finally:
            with self._lock:
                self._children.discard(child)
        if child.returncode:
            if not self._stopped:
                self.say(text)
            raise ToolFailed(child.returncode if child.returncode > 0 else 128 - child.returncode)
        self.say(_COUNT.sub("", job.quiet(text)))
        return text

    def _start(self, argv: Sequence[str]) -> subprocess.Popen[str]:
        with self._lock:
            if self._stopped:
                raise ToolFailed(130)
            try:
                child = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    start_new_session=True,
                )
            except OSError as error:
                raise NvccError(f"Could not start {argv[0]}: {error.strerror}") from None
            self._children.add(child)
        return child

    def stop(self) -> None:
        """Ends every running command with its children, and starts no more."""
        with self._lock:
            self._stopped = True
            children = list(self._children)
        for child in children:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
        for child in children:
            try:
                child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
