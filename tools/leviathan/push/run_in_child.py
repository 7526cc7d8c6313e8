"""Runs the upload in a child process, so killing the parent does not cut a chunk in half.

Registries of the 2.x line cannot resume inside a chunk: the upload URL contains the offset, so it is no longer valid
after a chunk was cut (distribution 3 and others can resume). So the current chunk should be completed if possible. On
SIGINT, SIGTERM and SIGHUP, the upload stops after the current chunk. If the parent is killed with SIGKILL, the child
sees the pipe between them close, and stops in the same way.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

from leviathan.errors import ExitCode
from leviathan.terminal.output import Console
from leviathan.terminal.signals import STOPPING

SIGNALS = (signal.SIGINT, *STOPPING)
#: The signal from the parent to its child. The signals above may reach both processes, but must count only once.
ASK = signal.SIGUSR1


def run_in_child(work: Callable[[threading.Event], int], console: Console) -> int:
    """Run `work` in a child process and return its exit status; 128 + n if signal n killed it.

    `work` gets an event that is set when it should stop: after a signal, or if this process has died. A second signal
    ends it at once. Call this from the main thread, before other threads start.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (*SIGNALS, ASK)}
    child = os.fork()
    if child == 0:
        status = int(ExitCode.FAILED)
        try:
            os.close(writing)
            status = _child(work, reading, console)
            sys.stdout.flush()
        finally:
            os._exit(status)
    os.close(reading)
    for number in SIGNALS:
        if before[number] is not signal.SIG_IGN:  # as nohup has it, and a shell for what it starts with &
            signal.signal(number, lambda number, frame: _forward(child))
    try:
        _, code = os.waitpid(child, 0)
    finally:
        os.close(writing)
        for number, handler in before.items():
            signal.signal(number, handler)
    status = os.waitstatus_to_exitcode(code)
    return status if status >= 0 else 128 - status


def _forward(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.kill(child, ASK)


def _child(work: Callable[[threading.Event], int], reading: int, console: Console) -> int:
    stop = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            os._exit(ExitCode.INTERRUPTED)
        stop.set()
        console.say("stopping after the current chunks; press Ctrl-C again to stop at once")

    def watch() -> None:
        os.read(reading, 1)  # nobody writes, so this returns when the parent has died
        stop.set()

    signal.signal(ASK, ask)
    threading.Thread(target=watch, name="parent", daemon=True).start()
    return work(stop)
