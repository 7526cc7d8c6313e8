"""Page-locks the streamed experts' weights in the page cache, so that a GPU copies them without a reader.

The copies then run at the link's rate, main memory sees each byte once, and the CPUs are free. Locked pages cannot be
evicted, so this is only done if all experts that may be streamed fit into the memory that is left.
"""

import atexit
import mmap
import threading
import time
from collections.abc import Sequence

from ..kernels.library import Library
from .files import LayerFiles, Weight
from .installed import Say
from .ring import Ring

PAGE = mmap.PAGESIZE
# Bytes that are locked at once: CUDA does nothing else meanwhile, for about 15 ms.
PART = 256 << 20


def parts(weight: Weight, experts: Sequence[int]) -> list[tuple[int, int]]:
    """Returns the offsets and bytes of `experts`, in rising order, of a weight: neighbours together, PART at most."""
    out: list[tuple[int, int]] = []
    for number in experts:
        offset = weight.offset + number * weight.bytes
        if out and sum(out[-1]) == offset and out[-1][1] + weight.bytes <= PART:
            out[-1] = out[-1][0], out[-1][1] + weight.bytes
        else:
            out.append((offset, weight.bytes))
    return out


class PageLocked:
    """Layers with the numbers of their experts that are not resident, and `room`, the bytes that may be locked.

    Stays locked until the process ends, as the files stay open. `fits`: whether something is to be locked, and nothing
    has been refused so far.
    """

    def __init__(
        self,
        library: Library,
        rings: Sequence[Ring],
        layers: Sequence[tuple[LayerFiles, Sequence[int]]],
        room: int,
        say: Say,
    ) -> None:
        self._library, self._rings, self._layers, self._say = library, rings, list(layers), say
        self._bytes = self._locked = 0
        for files, experts in layers:
            self._bytes += sum(w.bytes for w in (files.gate, files.up, files.down)) * len(experts)
        self.fits = 0 < self._bytes <= room
        if self._bytes > room > 0:
            say(
                f"experts: not page-locked: {self._bytes / 1e9:.1f} GB may be streamed, and there is room for"
                f" {room / 1e9:.1f}; threads read them for each long prompt"
            )
        self._thread = threading.Thread(target=self._rest, name="page-lock", daemon=True)

    def first(self, position: int) -> None:
        """Locks one layer, an index of `layers`, now."""
        if self.fits:
            self._lock(*self._layers.pop(position))

    def start(self) -> None:
        """Locks the other layers from a thread, in their order."""
        if self.fits:
            atexit.register(self.stop)  # CUDA must not end while the thread is in it
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the part that it is locking."""
        self.fits = False
        self.join()

    def join(self) -> None:
        """Waits for the thread of `start`: all are locked then, or one was refused."""
        if self._thread.ident is not None:
            self._thread.join()

    def _rest(self) -> None:
        began = time.monotonic()
        for files, experts in self._layers:
            self._lock(files, experts)
        if self.fits:
            seconds = time.monotonic() - began
            self._say(
                f"experts: {self._locked / 1e9:.1f} GB are page-locked after {seconds:.1f} s: no thread reads them"
            )

    def _lock(self, files: LayerFiles, experts: Sequence[int]) -> None:
        for weight in (files.gate, files.up, files.down):
            for offset, size in parts(weight, experts):
                if not self.fits:
                    return
                begin = offset // PAGE * PAGE
                address = self._library.leviathan_page_lock(weight.file, begin, offset + size - begin)
                if not address:
                    self.fits = False
                    reason = self._library.leviathan_page_lock_error().decode(errors="replace")
                    self._say(
                        f"experts: {self._locked / 1e9:.1f} GB are page-locked, threads read the others: {reason}"
                    )
                    return
                for ring in self._rings:
                    ring.page_locked(weight.file, offset, size, address + offset - begin)
                self._locked += size
