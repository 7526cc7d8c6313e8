"""Measures how fast the model's files can be read, with a sample, to estimate how long the start takes."""

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
    """Returns bytes per second of up to READS random reads of READ_BYTES each from `files`, which are paths and sizes.

    No read begins after `seconds` of `clock`. The page cache is not dropped: what the kernel already holds is read at
    memory speed, by the load as by the sample. The places are random each time, because those of the last sample are
    in the page cache. None if the files together are smaller than the sample. Errors: GgufError for a file that cannot
    be read.
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
    """Reads at offset `start` of the concatenated files; returns the number of bytes that were read."""
    for path, size in files:
        if start < size:
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    return len(os.pread(descriptor, READ_BYTES, min(start, max(0, size - READ_BYTES))))
                finally:
                    os.close(descriptor)
            except OSError as err:
                raise GgufError(f"cannot read {path}: {err.strerror}", "check the disk with dmesg on the node") from err
        start -= size
    return 0
