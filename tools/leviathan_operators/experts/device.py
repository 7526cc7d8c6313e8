"""A layer's experts on its GPU: a table of the resident ones, counters of use, and streaming for the others."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..kernels.library import Slots
from .files import LayerFiles
from .products import Products, by_expert
from .streamed import StreamedExperts

# Up to this many tokens, the kernels multiply blocks by vectors; with more, an expert has enough tokens for matrix
# products.
VECTOR_TOKENS = 8


@dataclass(frozen=True)
class Resident:
    """The resident experts of a layer: the slots, which layers of equal types share, and `table`, int32, with the slot
    of each of the layer's experts or -1. `complete`: all experts of the layer are resident.

    The table and the slots' bytes are changed in place, so a captured CUDA graph uses the new ones.
    """

    slots: Slots
    count: int
    table: Tensor
    complete: bool = False


class DeviceLayer:
    """One layer of experts on one device."""

    def __init__(
        self, operators: Any, files: LayerFiles, choices: int, device: torch.device, uses: Tensor | None = None
    ) -> None:
        """`uses`: int64 (experts), zeros, the counters."""
        self.files = files
        self.uses = torch.zeros(files.experts, dtype=torch.int64, device=device) if uses is None else uses
        self._operators, self._choices, self._device = operators, choices, device
        self._nowhere = torch.full((files.experts,), -1, dtype=torch.int32, device=device)
        self._slots = torch.empty(0, choices, dtype=torch.int32, device=device)
        self._resident: Resident | None = None
        self._products: Products | None = None
        self._streamed: StreamedExperts | None = None
        self._position, self._threshold = 0, 0

    def keep(self, resident: Resident, products: Products) -> None:
        """Sets the resident experts; call it before any CUDA graph is captured."""
        self._resident, self._products = resident, products

    def stream(self, streamed: StreamedExperts, position: int, threshold: int) -> None:
        """Makes chunks of at least `threshold` tokens use `streamed`, in which this is the layer `position`."""
        self._streamed, self._position, self._threshold = streamed, position, threshold

    def streams(self, tokens: int) -> bool:
        """Whether a chunk of `tokens` tokens is streamed."""
        return self._streamed is not None and tokens >= self._threshold

    def ahead(self, tokens: int) -> None:
        """Starts to read this layer's experts before a chunk of `tokens` tokens gets here, if it is streamed.

        Errors: KernelError.
        """
        if self._streamed is not None and self.streams(tokens):
            self._streamed.ahead(self._position)

    def streamed(self, x: Tensor, ids: Tensor, weights: Tensor) -> Tensor:
        """Computes all experts of a chunk, float32 (tokens, hidden). Errors: KernelError."""
        assert self._streamed is not None
        self.uses += torch.bincount(ids.flatten(), minlength=self.files.experts)
        return self._streamed.layer(self._position, x, ids, weights)

    @property
    def table(self) -> Tensor:
        """The slot of each expert, int32, -1 for one that is not resident; changes in place."""
        return self._nowhere if self._resident is None else self._resident.table

    @property
    def resident_slots(self) -> Slots | None:
        """The slots of the resident experts."""
        return None if self._resident is None else self._resident.slots

    @property
    def complete(self) -> bool:
        """Whether every expert of the layer is resident."""
        return self._resident is not None and self._resident.complete

    def route(self, ids: Tensor) -> Tensor:
        """Counts the choices, remembers the resident ones, and returns the CPU's: int64, -1 for resident ones."""
        self._slots = torch.empty(ids.shape, dtype=torch.int32, device=self._device)
        cpu_ids = torch.empty_like(ids)
        self._operators.route(ids.contiguous(), self.table, self._slots, cpu_ids, self.uses)
        return cpu_ids

    def resident(self, x: Tensor, weights: Tensor) -> Tensor | None:
        """Computes the resident experts that `route` found: float32 (tokens, hidden), None for none."""
        if self._resident is None or self._products is None:
            return None
        if len(x) > VECTOR_TOKENS:
            return self._many(self._resident, self._products, x, weights)
        hidden = torch.empty(*self._slots.shape, self.files.width, dtype=torch.float32, device=self._device)
        out = torch.empty(x.shape, dtype=torch.float32, device=self._device)
        self._operators.gate_up(self._resident.slots, self._slots, x.contiguous(), hidden)
        self._operators.down(self._resident.slots, self._slots, weights.contiguous(), hidden, out)
        return out

    def _many(self, resident: Resident, products: Products, x: Tensor, weights: Tensor) -> Tensor:
        out = torch.zeros(x.shape, dtype=torch.float32, device=self._device)
        slots, begin = resident.slots, 0
        tokens, scales, counts = by_expert(self._slots.long(), weights, resident.count)
        for slot, count in enumerate(counts):
            if count:
                rows, at = slice(begin, begin + count), slot * slots.stride
                where = (slots.gate + at, slots.up + at, slots.down + at)
                products.add(self.files, where, x, tokens[rows], scales[rows], out)
                begin += count
        return out
