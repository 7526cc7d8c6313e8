"""SIGTERM and SIGHUP end a command as Ctrl-C does: with a word, exit status 130, and the terminal as it was."""

import signal
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


def ignored(number: signal.Signals) -> bool:
    """Whether whoever started this process has it ignore the signal."""
    return signal.getsignal(number) is signal.SIG_IGN
