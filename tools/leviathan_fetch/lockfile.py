"""One fetch at a time in a checkout: a lock file, held by the process and its children."""

import fcntl
import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PAUSE = 0.2


@contextmanager
def exclusive(path: Path, say: Callable[[str], None]) -> Iterator[int]:
    """Hold the lock file `path`, waiting for it with a message by `say`; gives the file descriptor, for children.

    The kernel lets go of the lock when the last process that has the descriptor ends, however it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        for turn in itertools.count():
            with suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if turn == 1:  # not at once: the holder's process id comes a moment after its lock
                holder = os.pread(handle, 20, 0).decode(errors="replace").strip() or "unknown"
                say(f"fetch: another fetch (process {holder}) is at work in this checkout, waiting for it")
            time.sleep(PAUSE)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield handle
    finally:
        os.close(handle)
