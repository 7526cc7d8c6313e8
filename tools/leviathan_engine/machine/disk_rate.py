"""How fast the model's files can be read: a sample of their bytes, for the start's estimate."""

import os
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from leviathan_engine.errors import GgufError

READ_BYTES = 1 << 20
READS = 64
SECONDS = 0.6


def measure(
    files: Sequence[tuple[Path, int]],
    seconds: float = SECONDS,
    clock: Callable[[], float] = time.perf_counter,
) -> float | None:
    """Bytes a second of up to READS reads of READ_BYTES each, scattered over `files`, which are paths and sizes.

    No read begins when `seconds` of `clock` are over. The page cache is left as it is: what the kernel holds already is
    read at memory's speed, by the load as by the sample. The places are others each time, for the last sample's are in
    the cache. None when the files together are smaller than the sample. Errors: GgufError for a file that cannot be
    read.
    """
    total = sum(size for _path, size in files)
    if total < READS * READ_BYTES:
        return None
    step = total // READS
    starts = [i * step + random.randrange(step) for i in range(READS)]
    random.shuffle(starts)  # so that a slow disk's few reads are not all of the first file
    got = 0
    began = now = clock()
    for start in starts:
        got += _read(files, start)
        now = clock()
        if now - began >= seconds:
            break
    return got / (now - began) if got and now > began else None


def _read(files: Sequence[tuple[Path, int]], start: int) -> int:
    """Reads at the place `start` of the files laid end to end; the number of bytes that came."""
    for path, size in files:
        if start < size:
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    return len(os.pread(descriptor, READ_BYTES, min(start, max(0, size - READ_BYTES))))
                finally:
                    os.close(descriptor)
            except OSError as err:
                raise GgufError(f"{path}: cannot be read: {err.strerror}", "look at the disk with dmesg") from err
        start -= size
    return 0
