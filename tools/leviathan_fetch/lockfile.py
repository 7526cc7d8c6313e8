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
    """Holds the lock file `path`; waits for it with a message through `say`. Yields the descriptor, for children.

    The kernel releases the lock when the last process with the descriptor ends, even if it is killed.
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
                say(f"fetch: waiting for another fetch (process {holder}) in this checkout")
            time.sleep(PAUSE)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield handle
    finally:
        os.close(handle)
