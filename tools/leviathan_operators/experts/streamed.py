"""Computes a layer of experts for a long prompt on the GPU, while the next experts' weights are being copied.

Tokens are sorted by expert, and each expert computes all of its tokens at once (products.py). The weighted sum is in
float32, in the order of the experts' numbers. The GPU waits for the copies; the CPU only waits for the GPU once per
layer, for the counts of tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from .files import LayerFiles
from .products import Addresses, Products, by_expert


class Source(Protocol):
    """A source of experts' weights: `ring.Ring`, or `reference.operators.PlainRing`."""

    device: torch.device

    def begin(self, layers: Sequence[LayerFiles], experts: Sequence[Sequence[int]]) -> None:
        """Starts to fetch the given experts of each layer, in this order."""

    def wait(self, item: int, queue: int) -> int:
        """Waits for an expert; returns the address of its slot, for work on the stream `queue`."""

    def release(self, item: int, queue: int) -> None:
        """Releases the slot after the work that is queued so far."""


@dataclass(frozen=True)
class StreamedLayer:
    """One layer: its files, and the addresses of gate, up and down of its resident experts."""

    files: LayerFiles
    resident: Mapping[int, Addresses] = field(default_factory=dict)

    @property
    def absent(self) -> list[int]:
        """The experts that are not resident, and must be fetched."""
        return [number for number in range(self.files.experts) if number not in self.resident]


class StreamedExperts:
    """The layers of one GPU whose experts are streamed from one source.

    `layers` are in the order of the model. A chunk calls `layer` for each of them in turn, and the source reads the
    experts of the next layers ahead while the GPU computes attention.
    """

    def __init__(self, operators: Any, source: Source, layers: Sequence[StreamedLayer], products: Products) -> None:
        self._operators, self._source, self._layers, self._products = operators, source, tuple(layers), products
        self._next = len(self._layers)
        self._item = 0

    def start(self, position: int = 0) -> None:
        """Starts to read the experts of layer `position` (an index of `layers`) and of all later layers."""
        layers = self._layers[position:]
        self._source.begin([layer.files for layer in layers], [layer.absent for layer in layers])
        self._next, self._item = position, 0

    def layer(self, position: int, x: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Computes the weighted sum of the chosen experts, float32 (tokens, hidden).

        Args:
            position: index of `layers`.
            x: bfloat16 (tokens, hidden).
            ids: int64 (tokens, choices), without duplicates in a row.
            weights: (tokens, choices).

        Errors: KernelError if weights cannot be read or copied.
        """
        if position != self._next:
            self.start(position)
        # After an error, the next call starts again.
        self._next = len(self._layers)
        layer, item, queue = self._layers[position], self._item, self._operators.stream(x)
        out = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
        tokens, scales, counts = by_expert(ids, weights, layer.files.experts)
        begin = 0
        for number, count in enumerate(counts):
            rows = slice(begin, begin + count)
            begin += count
            if number in layer.resident:
                if count:
                    self._products.add(layer.files, layer.resident[number], x, tokens[rows], scales[rows], out)
                continue
            slot = self._source.wait(item, queue)
            if count:
                places = layer.files.places
                addresses = (slot + places[0], slot + places[1], slot + places[2])
                self._products.add(layer.files, addresses, x, tokens[rows], scales[rows], out)
            self._source.release(item, queue)
            item += 1
        self._next, self._item = position + 1, item
        return out
