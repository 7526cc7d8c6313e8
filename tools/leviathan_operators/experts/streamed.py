"""Computes a layer of experts for a long prompt on the GPU, while the next experts' weights are being copied.

Tokens are sorted by expert, and each expert computes all of its tokens at once (products.py). The weighted sum is in
float32, in the order of the experts' numbers. The GPU waits for the copies; the CPU only waits for the GPU once per
layer, for the counts of tokens. With several GPUs, each takes a part of every layer's experts over its own link.
"""

from collections.abc import Iterable, Mapping, Sequence
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

    def skip(self, items: Sequence[int]) -> None:
        """Leaves out experts that are released without being waited for."""

    def release(self, item: int, queue: int) -> None:
        """Releases the slot after the work that is queued so far."""


@dataclass(frozen=True)
class StreamedLayer:
    """One layer: its files, and the addresses of gate, up and down of the experts that are resident on its GPU."""

    files: LayerFiles
    resident: Mapping[int, Addresses] = field(default_factory=dict)

    @property
    def absent(self) -> list[int]:
        """The experts that are not resident, and must be fetched."""
        return [number for number in range(self.files.experts) if number not in self.resident]


@dataclass(frozen=True)
class Link:
    """A GPU to which experts are streamed: their `source`, the `products` that compute them there, and its `share` of a
    layer's experts, as a weight next to the other links'."""

    source: Source
    products: Products
    share: int = 1


def turns(shares: Sequence[int]) -> tuple[int, ...]:
    """Returns the links in turn, each as often as its share and evenly spread: `turns((2, 1))` is (0, 1, 0)."""
    total, owed, out = sum(shares), [0] * len(shares), []
    for _ in range(total):
        owed = [before + share for before, share in zip(owed, shares, strict=True)]
        link = owed.index(max(owed))
        owed[link] -= total
        out.append(link)
    return tuple(out)


def owners(experts: Iterable[int], order: Sequence[int]) -> dict[int, int]:
    """Returns the link that each of `experts` comes over, from the links in turn, `order`."""
    return {number: order[n % len(order)] for n, number in enumerate(experts)}


def experts_of(owner: Mapping[int, int], link: int) -> list[int]:
    """Returns the experts that come over one link, in their order."""
    return [number for number, its in owner.items() if its == link]


class StreamedExperts:
    """The layers of the model whose experts are streamed, and the links that share each layer's experts.

    A layer's tokens are on the GPU of one of the links; the other GPUs get a copy of them. `layers` are in the order of
    the model. A chunk calls `layer` for each of them in turn, and the sources read the experts of the next layers ahead
    while the GPU computes attention. Experts that no token chose are left out, unless a source was ahead of the router.
    The last layer is not read ahead, because most chunks do not need it (`operators/last_layer.py`).
    """

    def __init__(self, operators: Any, links: Sequence[Link], layers: Sequence[StreamedLayer]) -> None:
        """Errors: ValueError if no link has a share."""
        self._operators, self._links, self._layers = operators, tuple(links), tuple(layers)
        self._turns = turns([link.share for link in links])
        if not self._turns:
            raise ValueError("expected a link with a share above 0")
        self._next = len(self._layers)
        self._items = [0] * len(self._links)

    def start(self, position: int) -> None:
        """Starts to read the experts of layer `position` (an index of `layers`) and of all later ones but the last.

        It waits for all work on the GPUs. Errors: KernelError.
        """
        layers = self._layers[position : max(position + 1, len(self._layers) - 1)]
        owned = [owners(layer.absent, self._turns) for layer in layers]
        for n, link in enumerate(self._links):
            link.source.begin([layer.files for layer in layers], [experts_of(owner, n) for owner in owned])
        self._next, self._items = position, [0] * len(self._links)

    def ahead(self, position: int) -> None:
        """As `start`, before the chunk gets to the layer; but not for the last layer, which may not be streamed."""
        if position < len(self._layers) - 1:
            self.start(position)

    def layer(self, position: int, x: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Computes the weighted sum of the chosen experts, float32 (tokens, hidden).

        Each GPU adds its experts' results in the order of their numbers; then the GPUs' sums are added.

        Args:
            position: index of `layers`.
            x: bfloat16 (tokens, hidden).
            ids: int64 (tokens, choices), without duplicates in a row.
            weights: (tokens, choices).

        Errors: KernelError if weights cannot be read or copied.
        """
        if position != self._next or position == len(self._layers) - 1:
            self.start(position)
        # After an error, the next call starts again.
        self._next = len(self._layers)
        layer, first = self._layers[position], self._items
        tokens, scales, counts = by_expert(ids, weights, layer.files.experts)
        owner = owners(layer.absent, self._turns)
        shares = [experts_of(owner, n) for n in range(len(self._links))]
        for link, begun, chosen in zip(self._links, first, shares, strict=True):
            link.source.skip([begun + i for i, number in enumerate(chosen) if not counts[number]])
        parts = {
            n: _Part(self._operators, link, layer.files, x, tokens, scales, counts, first[n])
            for n, link in enumerate(self._links)
            if shares[n] or link.source.device == x.device
        }
        here = next(part for part in parts.values() if part.device == x.device)
        for number in range(layer.files.experts):
            if number in layer.resident:
                here.add(layer.resident[number], number)
            else:
                parts[owner[number]].add_next(number)
        self._next, self._items = position + 1, [parts[n].item if n in parts else item for n, item in enumerate(first)]
        for part in parts.values():
            if part is not here:
                here.add_sums(part)
        return here.out


# Rows of another GPU's sums that are copied at once: 59 MB for DeepSeek-V3.
SUM_ROWS = 2048


class _Part:
    """A link's part of a layer: the tokens on its GPU, and the sums of its experts, float32 (tokens, hidden)."""

    def __init__(
        self,
        operators: Any,
        link: Link,
        files: LayerFiles,
        x: torch.Tensor,
        tokens: torch.Tensor,
        scales: torch.Tensor,
        counts: list[int],
        item: int,
    ) -> None:
        self.device, self.item = link.source.device, item
        self._operators, self._source, self._products = operators, link.source, link.products
        self._files, self._places = files, files.places
        self._x, tokens, scales = (given.to(self.device, non_blocking=True) for given in (x, tokens, scales))
        self.out = torch.zeros(x.shape, dtype=torch.float32, device=self.device)
        self._queue = operators.stream(self._x)
        # All at once, since the host's time for each of hundreds of experts counts.
        self._pairs = list(zip(tokens.split(counts), scales.split(counts), strict=True))

    def add(self, addresses: Addresses, number: int) -> None:
        """Adds the expert `number`, whose gate, up and down are at `addresses`."""
        tokens, scales = self._pairs[number]
        if len(tokens):
            self._products.add(self._files, addresses, self._x, tokens, scales, self.out)

    def add_next(self, number: int) -> None:
        """Adds the expert `number`, which is the source's next."""
        with self._operators.current(self.device):
            if len(self._pairs[number][0]):
                slot, places = self._source.wait(self.item, self._queue), self._places
                self.add((slot + places[0], slot + places[1], slot + places[2]), number)
            self._source.release(self.item, self._queue)
        self.item += 1

    def add_sums(self, other: "_Part") -> None:
        """Adds another GPU's sums."""
        for rows in range(0, len(self.out), SUM_ROWS):
            self.out[rows : rows + SUM_ROWS] += other.out[rows : rows + SUM_ROWS].to(self.device)
