"""Page-locks the streamed experts' weights in the page cache, so that a GPU copies them without a reader.

The copies then run at the link's rate, main memory is read once, and the CPUs are free. Locked pages cannot be evicted,
so this is only done if all experts that may be streamed fit into the memory that is left.
"""

import mmap
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ..kernels.library import Library
from .files import LayerFiles
from .placement import Swap
from .ring import Ring

PAGE = mmap.PAGESIZE
# Mappings, one for each weight of an expert; Linux allows a process 65,530 (vm.max_map_count), and others need some.
MOST_PARTS = 50_000


class Part(NamedTuple):
    """One weight of an expert: `size` bytes of `file` from `offset`, in the `mapped` bytes from `address` on."""

    file: int
    offset: int
    size: int
    address: int
    mapped: int


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
        say: Callable[[str], None],
    ) -> None:
        self._library, self._rings, self._say = library, rings, say
        self._files = {files.layer: files for files, _ in layers}
        self._absent = [(files.layer, list(experts)) for files, experts in layers]
        self._parts: dict[tuple[int, int], list[Part]] = {}
        self._resident: set[tuple[int, int]] = set()  # since the start
        self._mutex = threading.Lock()
        self._locked = 0
        size = sum(files.expert_bytes * len(experts) for files, experts in layers)
        count = 3 * sum(len(experts) for _, experts in layers)
        self.fits = 0 < size <= room and count <= MOST_PARTS
        if size and room and not self.fits:
            reason = (
                f"{size / 1e9:.1f} GB may be streamed, and there is room for {room / 1e9:.1f}"
                if size > room
                else f"{count} weights of experts are more than the {MOST_PARTS} that a process can map"
            )
            say(f"experts: not page-locked: {reason}; threads read them for each long prompt")
        self._thread = threading.Thread(target=self._rest, name="page-lock", daemon=True)

    def first(self, position: int) -> None:
        """Locks one layer, an index of `layers`, now."""
        layer, experts = self._absent.pop(position)
        self._lock(layer, experts)

    def start(self) -> None:
        """Locks the other layers from a thread, in their order."""
        if self.fits:
            self._thread.start()

    def join(self) -> None:
        """Waits for the thread of `start`: all are locked then, or one was refused."""
        if self._thread.ident is not None:
            self._thread.join()

    def swapped(self, moves: Iterable[Swap]) -> None:
        """Locks the experts that have left a GPU, and unlocks those that are there now; only between answers."""
        if not self.fits:
            return
        for ring in self._rings:
            ring.idle()  # nothing may be copied from what is unlocked
        for move in moves:
            with self._mutex:
                self._resident.add((move.layer, move.expert))
                self._resident.discard((move.from_layer, move.leaving))
                for part in self._parts.pop((move.layer, move.expert), ()):
                    for ring in self._rings:
                        ring.page_unlocked(part.file, part.offset)
                    self._library.leviathan_page_unlock(part.address, part.mapped)
                    self._locked -= part.size
            self._lock(move.from_layer, [move.leaving])

    def _rest(self) -> None:
        began = time.monotonic()
        for layer, experts in self._absent:
            self._lock(layer, experts)
        if self.fits:
            seconds = time.monotonic() - began
            self._say(
                f"experts: {self._locked / 1e9:.1f} GB are page-locked after {seconds:.1f} s: no thread reads them"
            )

    def _lock(self, layer: int, experts: Iterable[int]) -> None:
        files = self._files[layer]
        for expert in experts:
            with self._mutex:
                if not self.fits:
                    return
                if (layer, expert) not in self._resident and (layer, expert) not in self._parts:
                    self._parts[layer, expert] = self._expert(files, expert)

    def _expert(self, files: LayerFiles, expert: int) -> list[Part]:
        parts: list[Part] = []
        for file, offset, size, _ in files.runs(expert):
            begin = offset // PAGE * PAGE
            address = self._library.leviathan_page_lock(file, begin, offset + size - begin)
            if not address:
                self.fits = False
                reason = self._library.leviathan_page_lock_error().decode(errors="replace")
                self._say(f"experts: {self._locked / 1e9:.1f} GB are page-locked, threads read the others: {reason}")
                break
            parts.append(Part(file, offset, size, address, offset + size - begin))
            for ring in self._rings:
                ring.page_locked(file, offset, size, address + offset - begin)
            self._locked += size
        return parts
