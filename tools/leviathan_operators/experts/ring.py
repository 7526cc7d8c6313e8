"""The ring buffer that streams expert weights to a GPU (kernels/staging.cpp), and its figures."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..kernels.library import KernelError, Library
from .files import LayerFiles


@dataclass(frozen=True)
class Figures:
    """Totals of a ring. Seconds of `reading`, and of waiting for the `link` and for the GPU's `computing`, are summed
    over the reader threads; `waited` is the caller's. `bytes` were read, `from_disk` of them from the disk."""

    reading: float
    link: float
    computing: float
    waited: float
    bytes: float
    from_disk: float

    def since(self, earlier: "Figures") -> "Figures":
        """Returns the difference to `earlier`."""
        return Figures(*(getattr(self, name) - getattr(earlier, name) for name in self.__dataclass_fields__))


# A reader's two buffers of this size stay in the CPU's cache. On an H200, 14 readers give 52 GB/s of the link's 55;
# with 1 MiB 44, because every copy waits for all earlier ones, and with 16 MiB, which exceed the cache, 43.
PIECE = 4 << 20


class Ring:
    """A ring of `slots` experts of at most `slot_bytes` bytes on `device`, filled by `threads` readers.

    Each reader has two page-locked buffers of `piece` bytes.

    Errors: torch.OutOfMemoryError without room on the device, KernelError without page-locked memory.
    """

    def __init__(
        self, library: Library, device: torch.device, slots: int, slot_bytes: int, threads: int, piece: int = PIECE
    ) -> None:
        self.device, self.slots, self.slot_bytes, self.threads = device, slots, slot_bytes, threads
        self._library = library
        self._memory = torch.empty(slots * slot_bytes, dtype=torch.uint8, device=device)
        self._ring = library.leviathan_ring_create(
            device.index or 0, slots, slot_bytes, self._memory.data_ptr(), threads, piece
        )
        if not self._ring:
            raise KernelError(f"ring of {slots} x {slot_bytes} bytes: {_text(library.leviathan_ring_error(None))}")

    def begin(self, layers: Sequence[LayerFiles], experts: Sequence[Sequence[int]]) -> None:
        """Starts to read the given experts of each layer, in this order; cancels what was started before."""
        runs = torch.cat([_runs(layer, chosen) for layer, chosen in zip(layers, experts, strict=True)])
        items = len(runs) // 3
        ends = 3 * torch.arange(1, items + 1)
        if self._library.leviathan_ring_begin(self._ring, runs.data_ptr(), ends.data_ptr(), items):
            raise self.failure()

    def wait(self, item: int, stream: int) -> int:
        """Returns the device address of item `item`; work that is queued on `stream` from now on sees its bytes."""
        with self._library.current(self.device):
            address = self._library.leviathan_ring_wait(self._ring, item, stream)
        if not address:
            raise self.failure()
        return int(address)

    def skip(self, items: Sequence[int]) -> None:
        """Leaves out `items`, unless their reading has begun. Release them in their turn, without `wait`."""
        if self._library.leviathan_ring_skip(self._ring, (ctypes.c_int64 * len(items))(*items), len(items)):
            raise self.failure()

    def release(self, item: int, stream: int) -> None:
        """Releases item `item` after the work that is queued on `stream` so far."""
        with self._library.current(self.device):
            code = self._library.leviathan_ring_release(self._ring, item, stream)
        if code:
            raise self.failure()

    def page_locked(self, file: int, offset: int, size: int, address: int) -> None:
        """Copies `size` bytes of an open file, from `offset`, from `address` on: they are page-locked there."""
        self._library.leviathan_ring_page_locked(self._ring, file, offset, size, address)

    def page_unlocked(self, file: int, offset: int) -> None:
        """Reads the bytes at `offset` of an open file again."""
        self._library.leviathan_ring_page_locked(self._ring, file, offset, 0, None)

    def idle(self) -> None:
        """Stops reading, and waits for the copies."""
        self.stop()
        torch.cuda.synchronize(self.device)

    def view(self, address: int, size: int) -> torch.Tensor:
        """Returns the `size` bytes at `address` from `wait`, uint8."""
        begin = address - self._memory.data_ptr()
        return self._memory[begin : begin + size]

    def stop(self) -> None:
        """Stops reading; `begin` starts again."""
        self._library.leviathan_ring_stop(self._ring)

    def figures(self) -> Figures:
        """Returns the totals so far."""
        out = (ctypes.c_double * 6)()
        self._library.leviathan_ring_figures(self._ring, out)
        return Figures(*out)

    def failure(self) -> KernelError:
        """Returns the error to raise for what went wrong."""
        text = _text(self._library.leviathan_ring_error(self._ring))
        remedy = "; check the disk with dmesg on the node" if "cannot be read" in text else ""
        return KernelError(f"experts to the GPU: {text}{remedy}")

    def close(self) -> None:
        """Ends the threads and frees the memory."""
        if self._ring:
            self._library.leviathan_ring_destroy(self._ring)
            self._ring = None
        self._memory = torch.empty(0, dtype=torch.uint8)


def _runs(layer: LayerFiles, experts: Sequence[int]) -> torch.Tensor:
    """Returns `layer.runs` of several experts, int64 (3 * experts, 4): those of expert 0, moved by whole experts."""
    first = torch.tensor(layer.runs(0))
    runs = first.repeat(len(experts), 1, 1)
    runs[:, :, 1] += torch.tensor(experts, dtype=torch.int64).unsqueeze(1) * first[:, 2]
    return runs.flatten(0, 1)


def _text(message: Any) -> str:
    return message.decode(errors="replace") if isinstance(message, bytes) else "no message"
