"""The experts of one GPU while the engine runs: how often each was chosen and found, and swaps between answers."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .files import LayerFiles
from .placement import Counts, Swap, swaps
from .resident import Held, Loader, slot_class, swap

# Swaps before somebody who waits is looked for: of DeepSeek-V3's experts, 0.2 s from the page cache.
AT_ONCE = 16


class OnDevice:
    """One device's layers: their counters, rows of one tensor, and what stays there by layer number."""

    def __init__(self, uses: Tensor, files: Sequence[LayerFiles], source: Loader, held: Mapping[int, Held]) -> None:
        """`uses` is int64 (layers, experts), in the order of `files`."""
        self._uses, self._files, self._source, self._held = uses, {f.layer: f for f in files}, source, held
        self._seen = [[0] * f.experts for f in files]
        self.found = self.chosen = 0

    @property
    def placement(self) -> dict[int, tuple[int, ...]]:
        """The experts that are there now, by layer."""
        return {n: tuple(sorted(self._held[n].addresses)) if n in self._held else () for n in self._files}

    def counted(self) -> dict[int, list[int]]:
        """How often each expert was chosen since the start, by layer; waits for the device.

        What is new since the last call counts as found where the expert is there.
        """
        rows = self._uses.tolist()
        for layer, new, old in zip(self._files, rows, self._seen, strict=True):
            there = self._held[layer].addresses if layer in self._held else {}
            self.found += sum(new[expert] - old[expert] for expert in there)
            self.chosen += sum(new) - sum(old)
        self._seen = rows
        return dict(zip(self._files, rows, strict=True))

    def follow(self, counts: Counts, most: int = AT_ONCE) -> list[Swap]:
        """Gives up to `most` slots to experts that are wanted more; returns what changed. Errors: KernelError."""
        classes: dict[tuple[int, ...], dict[int, tuple[int, ...]]] = {}
        for layer, there in self.placement.items():
            if there:
                classes.setdefault(slot_class(self._files[layer]), {})[layer] = there
        moves: list[Swap] = []
        for resident in classes.values():
            experts = self._files[next(iter(resident))].experts
            moves += swaps(resident, experts, counts, most - len(moves))
        if moves:
            self.counted()  # by where they were
            device = self._uses.device
            queue = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
            swap(self._source, self._files, self._held, moves, queue)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
        return moves
