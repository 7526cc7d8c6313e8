"""Reads the model's files into the page cache ahead of the loader, in the order in which the loader uses them.

The loader maps the files: it reads through page faults, one layer at a time, and the disk is idle while it imports,
dequantises and packs. A few threads keep the disk busy with large reads from the start of the worker, so the loader
finds its pages in memory.
"""

import errno
import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from leviathan_engine.gguf import Model
from leviathan_engine.machine.meminfo import MEMINFO, meminfo

PIECE = 64 << 20
# Bytes of one call: after each call a thread waits for the interpreter lock, which the loader holds for up to 5 ms.
CALL = 16 << 20
THREADS = 8
AFTER_LAYERS = 1 << 30
# Bytes kept free for the process and its page-locked buffers.
SPARE = 4 << 30
# The rate is reliable after this many seconds.
SETTLED_SECONDS = 5.0
SLOW_SECONDS = 600.0

Read = Callable[[int, memoryview, int], int]


@dataclass(frozen=True)
class Piece:
    """`size` bytes of the file `path` from `offset`."""

    path: Path
    offset: int
    size: int


@dataclass(frozen=True)
class Reading:
    """The progress: bytes read, bytes to read in total, and seconds since the start."""

    done: int
    total: int
    seconds: float

    @property
    def rate(self) -> float | None:
        """Bytes per second, None before SETTLED_SECONDS."""
        return self.done / self.seconds if self.seconds >= SETTLED_SECONDS else None

    def remark(self) -> str:
        """Returns a remark about a slow disk for the user; "" for a fast disk, or if the rate is not known yet."""
        rate = self.rate
        if rate is None or self.done >= self.total or self.total < rate * SLOW_SECONDS:
            return ""
        left = (self.total - self.done) / rate if rate else float("inf")
        minutes = f"{left / 60:.0f} minutes left" if rate else "remaining time unknown"
        return (
            f"the model's disk reads {rate / 1e6:.0f} MB/s: {self.done / 1e9:.0f} of {self.total / 1e9:.0f} GB read,"
            f" {minutes}"
        )


def pieces(model: Model, size: int = PIECE) -> Iterator[Piece]:
    """Yields the tensors' bytes in pieces of at most `size` bytes, in the order in which the loader uses the tensors.

    The loader goes from the embedding through the layers to lm_head; the order within a layer does not matter.
    """

    def place(name: str) -> tuple[int, int, int]:
        tensor = model.tensors[name]
        words = name.split(".")
        layer = int(words[1]) if words[0] == "blk" and words[1].isdecimal() else AFTER_LAYERS
        return (-1 if name.startswith("token_embd") else layer, tensor.part, tensor.offset)

    for name in sorted(model.tensors, key=place):
        tensor = model.tensors[name]
        path = model.parts[tensor.part].path
        for start in range(0, tensor.nbytes, size):
            yield Piece(path, tensor.offset + start, min(size, tensor.nbytes - start))


def room(memory_limit: int | None, used: int | None, report: Path = MEMINFO) -> int:
    """Returns how many bytes may be read ahead without evicting what was read before, at least 0.

    Arguments: `memory_limit` and `used` of the control group in bytes, None if there is none or it is not known. A
    control group counts the page cache, so pages of the model that are already cached count twice: the result may be
    too small, but never too large.
    """
    try:
        available = meminfo("MemAvailable", report)
    except (OSError, ValueError):
        return 0
    left = None if memory_limit is None else memory_limit - (used or 0)
    return max(0, min((found for found in (available, left) if found is not None), default=0) - SPARE)


def pread(descriptor: int, buffer: memoryview, offset: int) -> int:
    """Reads into `buffer` from `offset`; returns the number of bytes that were read. Errors: OSError."""
    return os.preadv(descriptor, [buffer], offset)


class ReadAhead:
    """Threads that read pieces, in order, until all are read, `stop` is called or a read fails."""

    def __init__(
        self,
        work: Sequence[Piece],
        limit: int,
        failed: Callable[[str], None],
        threads: int = THREADS,
        read: Read = pread,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts reading.

        Arguments: `limit`, the bytes to read in total, from `room`; `failed` is called from a thread with one line if a
        file cannot be read; tests replace `read`.
        """
        chosen: list[Piece] = []
        self._total = 0
        for piece in work:
            if self._total + piece.size > limit:
                break
            chosen.append(piece)
            self._total += piece.size
        self._failed, self._read, self._clock = failed, read, clock
        self._queue = iter(chosen)
        self._lock = threading.Lock()
        self._done = 0
        self._began = clock()
        self._ended: float | None = None
        self._stopping = False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads if chosen else 0)]
        for thread in self._threads:
            thread.start()

    @property
    def reading(self) -> Reading:
        """The current progress."""
        with self._lock:
            return Reading(self._done, self._total, (self._ended or self._clock()) - self._began)

    def stop(self) -> None:
        """Stops after the current reads."""
        self._stopping = True

    def join(self) -> None:
        """Waits until the threads have ended."""
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        buffer = memoryview(mmap.mmap(-1, CALL))
        descriptor, path = -1, Path()
        try:
            while (piece := self._next()) is not None:
                if piece.path != path:
                    if descriptor >= 0:
                        os.close(descriptor)
                    descriptor, path = os.open(piece.path, os.O_RDONLY | os.O_CLOEXEC), piece.path
                self._take(descriptor, piece, buffer)
        except OSError as err:
            self._stopping = True
            where = f"cannot read {path}" if descriptor >= 0 else f"cannot open {err.filename}"
            what = f"{errno.errorcode.get(err.errno or 0, 'error')}, {err.strerror}"
            self._failed(f"{where}: {what}; check the disk with dmesg on the node")
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _next(self) -> Piece | None:
        with self._lock:
            piece = None if self._stopping else next(self._queue, None)
            if piece is None and self._ended is None:
                self._ended = self._clock()
            return piece

    def _take(self, descriptor: int, piece: Piece, buffer: memoryview) -> None:
        place, end = piece.offset, piece.offset + piece.size
        while place < end and not self._stopping:
            count = self._read(descriptor, buffer[: min(len(buffer), end - place)], place)
            if count <= 0:
                raise OSError(errno.ENODATA, f"the file ends at byte {place}", str(piece.path))
            place += count
            with self._lock:
                self._done += count
