"""Keeps a transfer from being torn by a kill: the work runs in a child that outlives its parent by one chunk.

A registry of the 2.x line cannot resume inside a chunk: its upload address carries the offset, and after a chunk that
was cut the address fits no more (distribution 3 and others can). So a chunk under way should arrive whenever it can.
SIGINT, SIGTERM and SIGHUP are answered by stopping after it; SIGKILL of the process that the user started cannot be
caught, but its child sees the pipe between them close, and stops in the same way.
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
#: How the parent tells its child: the signals above may reach both at once, and one request must not count as two.
ASK = signal.SIGUSR1


def run_in_child(work: Callable[[threading.Event], int], console: Console) -> int:
    """Run `work` in a child process and return its exit status, 128 + n when signal n ended it.

    `work` gets an event that is set when it should stop soon: by a signal, or because this process has died. A second
    signal ends it at once. To be called from the main thread before other threads start.
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
        console.say("stopping after the chunks under way; once more to stop at once")

    def watch() -> None:
        os.read(reading, 1)  # returns when the parent is gone, as nobody writes
        stop.set()

    signal.signal(ASK, ask)
    threading.Thread(target=watch, name="parent", daemon=True).start()
    return work(stop)
