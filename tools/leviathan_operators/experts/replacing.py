"""The experts of one GPU while the engine runs: counts uses and hits, and swaps experts between answers."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .files import LayerFiles
from .placement import Counts, Swap, swaps
from .resident import Held, Loader, slot_class, swap

# Swaps before the worker checks for a new job: 0.2 s for DeepSeek-V3's experts in the page cache.
AT_ONCE = 16


class OnDevice:
    """One device's layers: their counters, which are rows of one tensor, and their resident experts by layer number."""

    def __init__(self, uses: Tensor, files: Sequence[LayerFiles], source: Loader, held: Mapping[int, Held]) -> None:
        """`uses` is int64 (layers, experts), in the order of `files`."""
        self._uses, self._files, self._source, self._held = uses, {f.layer: f for f in files}, source, held
        self._seen = [[0] * f.experts for f in files]
        self.found = self.chosen = 0

    @property
    def placement(self) -> dict[int, tuple[int, ...]]:
        """Returns the resident experts, by layer."""
        return {n: tuple(sorted(self._held[n].addresses)) if n in self._held else () for n in self._files}

    def counted(self) -> dict[int, list[int]]:
        """Returns the uses of each expert since the start, by layer; waits for the device.

        Uses since the last call count as hits if the expert is resident.
        """
        rows = self._uses.tolist()
        for layer, new, old in zip(self._files, rows, self._seen, strict=True):
            there = self._held[layer].addresses if layer in self._held else {}
            self.found += sum(new[expert] - old[expert] for expert in there)
            self.chosen += sum(new) - sum(old)
        self._seen = rows
        return dict(zip(self._files, rows, strict=True))

    def follow(self, counts: Counts, most: int = AT_ONCE) -> list[Swap]:
        """Gives up to `most` slots to experts that are used more; returns the swaps. Errors: KernelError."""
        classes: dict[tuple[int, ...], dict[int, tuple[int, ...]]] = {}
        for layer, there in self.placement.items():
            if there:
                classes.setdefault(slot_class(self._files[layer]), {})[layer] = there
        moves: list[Swap] = []
        for resident in classes.values():
            experts = self._files[next(iter(resident))].experts
            moves += swaps(resident, experts, counts, most - len(moves))
        if moves:
            self.counted()  # counts hits with the placement before the swaps
            device = self._uses.device
            queue = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
            swap(self._source, self._files, self._held, moves, queue)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
        return moves
