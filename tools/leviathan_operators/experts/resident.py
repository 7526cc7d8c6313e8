"""Loads resident experts to a GPU, through the ring, into slots that layers of equal types and sizes share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..kernels.library import Slots
from .device import Resident
from .files import LayerFiles
from .placement import Swap
from .products import Addresses
from .streamed import Source


class Loader(Source, Protocol):
    """A source whose slots can be copied from."""

    def view(self, address: int, size: int) -> Tensor:
        """Returns the `size` bytes of a slot at `address`, uint8."""


@dataclass(frozen=True)
class Held:
    """One layer's resident experts: for its decode step, and each expert's addresses for the products of a prompt."""

    resident: Resident
    addresses: dict[int, Addresses]


def load(
    source: Loader, layers: Sequence[LayerFiles], chosen: Mapping[int, Sequence[int]], queue: int
) -> dict[int, Held]:
    """Loads the chosen experts (by the layer's number) to the source's device; leaves out layers without any.

    The result keeps the memory alive: each Resident holds its table, and `Held` its pool.

    Errors: torch.OutOfMemoryError, KernelError.
    """
    taken = [files for files in layers if chosen.get(files.layer)]
    source.begin(taken, [chosen[files.layer] for files in taken])
    sizes: dict[tuple[int, ...], int] = {}
    for files in taken:
        sizes[slot_class(files)] = sizes.get(slot_class(files), 0) + len(chosen[files.layer])
    pools = {key: torch.empty(count, key[0], dtype=torch.uint8, device=source.device) for key, count in sizes.items()}
    used = dict.fromkeys(pools, 0)
    out: dict[int, Held] = {}
    item = 0
    for files in taken:
        pool = pools[slot_class(files)]
        table = torch.full((files.experts,), -1, dtype=torch.int32)
        addresses: dict[int, Addresses] = {}
        for expert in chosen[files.layer]:
            slot = used[slot_class(files)]
            used[slot_class(files)] += 1
            pool[slot].copy_(source.view(source.wait(item, queue), files.slot_bytes))
            source.release(item, queue)
            item += 1
            table[expert] = slot
            addresses[expert] = _at(pool[slot].data_ptr(), files)
        slots = Slots(*_at(pool.data_ptr(), files), files.slot_bytes, files.gate.kind, files.down.kind, pool)
        complete = len(chosen[files.layer]) == files.experts
        out[files.layer] = Held(Resident(slots, len(pool), table.to(source.device), complete), addresses)
    return out


def swap(
    source: Loader, layers: Mapping[int, LayerFiles], held: Mapping[int, Held], moves: Sequence[Swap], queue: int
) -> None:
    """Loads experts into the slots of others, in place, so that captured CUDA graphs use them; only between answers.

    Errors: KernelError; then neither the old nor the new experts of these slots are resident.
    """
    places = {}
    for move in moves:
        old = held[move.from_layer]
        places[move] = old.addresses.pop(move.leaving), int(old.resident.table[move.leaving])
        old.resident.table[move.leaving] = -1
    source.begin([layers[move.layer] for move in moves], [(move.expert,) for move in moves])
    for item, move in enumerate(moves):
        files, new = layers[move.layer], held[move.layer]
        pool = new.resident.slots.memory
        assert pool is not None
        address, slot = places[move]
        pool[slot].copy_(source.view(source.wait(item, queue), files.slot_bytes))
        source.release(item, queue)
        new.addresses[move.expert] = address
        new.resident.table[move.expert] = slot


def slot_class(files: LayerFiles) -> tuple[int, ...]:
    """Returns what must be equal for layers to share slots."""
    return files.slot_bytes, *files.places, files.gate.kind, files.down.kind


def _at(base: int, files: LayerFiles) -> Addresses:
    gate, up, down = files.places
    return base + gate, base + up, base + down
