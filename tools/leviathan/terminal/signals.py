"""SIGTERM and SIGHUP end a command as Ctrl-C does: with a word, exit status 130, and the terminal as it was."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: What stops a command besides Ctrl-C.
STOPPING = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def as_ctrl_c() -> Iterator[None]:
    """Have SIGTERM and SIGHUP raise KeyboardInterrupt while the block runs; one that is ignored (nohup) stays so."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in STOPPING if not ignored(number)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def deaf() -> None:
    """Have Ctrl-C, SIGTERM and SIGHUP do nothing from now on."""
    for number in (signal.SIGINT, *STOPPING):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def once() -> Iterator[None]:
    """Have the first Ctrl-C, SIGTERM or SIGHUP raise KeyboardInterrupt, and those after it do nothing in the block.

    For a block whose end puts something back that must not be left as it is.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone gets signals
        yield
        return
    numbers = [number for number in (signal.SIGINT, *STOPPING) if not ignored(number)]

    def stop(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, nothing)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def nothing(number: int, frame: FrameType | None) -> None:
    """Ignore a signal; not SIG_IGN, for which Python has a word to say when the signal is just arriving."""


def ignored(number: signal.Signals) -> bool:
    """Whether whoever started this process has it ignore the signal."""
    return signal.getsignal(number) is signal.SIG_IGN
