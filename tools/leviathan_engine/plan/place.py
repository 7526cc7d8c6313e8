"""Assigns layers to GPUs: contiguous runs in the GPUs' order, so that hidden states move once per GPU."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from leviathan_engine.gguf import Model
from leviathan_engine.model.shape import ModelShape

from . import vram

# Tokens of a prompt chunk, if the GPUs have room for it. The CPU experts take 1,024 tokens at a time, so a larger chunk
# is not faster there, and a cancelled request or another client's answer waits longer.
CHUNK = 4096
# Streaming experts to a GPU takes as long for this many tokens as for a few hundred: a chunk grows into free memory.
LONG_CHUNK = 16384


@dataclass(frozen=True)
class Placement:
    """`layers[g]` is the first layer of GPU `g` and the one after its last; `head` is the GPU of lm_head."""

    layers: tuple[tuple[int, int], ...]
    head: int


@dataclass(frozen=True)
class Need:
    """Bytes on one GPU by purpose. `total` counts the larger of running and loading."""

    marlin: int
    bf16: int
    router: int
    lm_head: int
    kv_cache: int
    prefill: int
    context: int
    loading: int

    @property
    def weights(self) -> int:
        """Bytes of all weights, including lm_head."""
        return self.marlin + self.bf16 + self.router + self.lm_head

    @property
    def total(self) -> int:
        """Peak bytes on the GPU. The KV cache is allocated after loading."""
        return self.context + max(self.weights + self.kv_cache + self.prefill, self.weights + self.loading)


class Costs:
    """The model's bytes, prepared so that many placements can be tried quickly.

    Arguments: `cache_lens` in tokens. Errors: GgufError from the tensor table.
    """

    def __init__(self, model: Model, shape: ModelShape, cache_lens: int) -> None:
        self.shape = shape
        self.cache_lens = cache_lens
        self.layers = [vram.layer_vram(model, shape, n) for n in range(shape.layers)]
        self.lm_head, self.lm_head_transient = vram.head_vram(model)
        self.norm = 2 * vram.gpu_tensor(model, "output_norm.weight", 1).elements
        self.kv_layer = vram.kv_bytes(shape, cache_lens)
        self.wide = vram.wide_bytes(model, shape)
        self.stream = vram.stream_bytes(model, shape)
        self._sums = {
            name: [0, *accumulate(getattr(layer, name) for layer in self.layers)]
            for name in ("marlin", "bf16", "router")
        }
        self._weights = [0, *accumulate(layer.weights for layer in self.layers)]
        self._weights[-1] += self.norm  # model.norm is on the GPU of the last layer
        # transients[a][b - a]: the largest among layers a to b.
        self._transients = [list(accumulate((x.transient for x in self.layers[a:]), max)) for a in range(shape.layers)]

    def need(self, first: int, last: int, chunk: int, *, head: bool) -> Need:
        """Returns the bytes on a GPU with the layers `first` to `last` - 1; `head`: with lm_head."""
        sums = {name: s[last] - s[first] for name, s in self._sums.items()}
        sums["bf16"] += self.norm if last == self.shape.layers else 0
        return Need(
            **sums,
            lm_head=self.lm_head if head else 0,
            kv_cache=(last - first) * self.kv_layer,
            prefill=self.prefill(chunk, head=head),
            context=vram.CONTEXT,
            loading=self._loading(first, last, head=head),
        )

    def prefill(self, chunk: int, *, head: bool) -> int:
        """Returns the temporary bytes on a GPU with layers while it reads `chunk` tokens of a prompt at once."""
        layers = vram.chunk_bytes(self.shape, chunk, self.cache_lens)
        return self.wide + (max(layers, vram.logits_bytes(self.shape, chunk)) if head else layers)

    def grown(self, placement: Placement, budgets: Sequence[int], chunk: int) -> int:
        """Returns `chunk`, doubled as often as the GPUs have room for it and for streaming experts."""
        while chunk * 2 <= min(LONG_CHUNK, self.cache_lens):
            needs = self.needs(placement, chunk * 2)
            if any(need.total + self.stream > budget for need, budget in zip(needs, budgets, strict=True)):
                break
            chunk *= 2
        return chunk

    def needs(self, placement: Placement, chunk: int) -> list[Need]:
        """Returns the bytes on every GPU of the placement."""
        return [
            self.need(first, last, chunk, head=g == placement.head) for g, (first, last) in enumerate(placement.layers)
        ]

    def _loading(self, first: int, last: int, *, head: bool) -> int:
        return max(self._transients[first][last - first - 1], self.lm_head_transient if head else 0)

    def _total(self, first: int, last: int, prefill: int, *, head: bool) -> int:
        """Returns `need(...).total` for a known prefill; the inner step of every search."""
        weights = self._weights[last] - self._weights[first] + (self.lm_head if head else 0)
        running = (last - first) * self.kv_layer + prefill
        return vram.CONTEXT + weights + max(running, self._loading(first, last, head=head))

    def fits(self, budgets: Sequence[int], head: int, chunk: int) -> bool:
        """Whether the layers fit the GPUs, each of which takes at least one.

        `ends` are the layers at which the GPUs so far may end. A GPU that takes as many as it can is not always right:
        the next one must take the layer after them, which may be larger.
        """
        ends = [0]
        for g, budget in enumerate(budgets):
            prefill = self.prefill(chunk, head=g == head)
            last, following = 0, list[int]()
            for first in ends:  # in ascending order: a later start reaches at least as far
                last = max(last, first)
                while last < self.shape.layers:
                    if self._total(first, last + 1, prefill, head=g == head) > budget:
                        break
                    last += 1
                    following.append(last)
            ends = following
        return bool(ends) and ends[-1] == self.shape.layers

    def largest_chunk(self, budgets: Sequence[int], head: int) -> int:
        """Returns the largest chunk in tokens, up to CHUNK and the KV cache, that fits with lm_head on GPU `head`.

        0 if not even one token fits; a multiple of 64 if at least 64 fit.
        """
        low, high = 0, min(CHUNK, self.cache_lens)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.fits(budgets, head, middle) else (low, middle - 1)
        return low - low % vram.PAGE_TOKENS or low

    def balance(self, budgets: Sequence[int], head: int, chunk: int) -> tuple[float, Placement]:
        """Returns the placement that minimises the used share of the budget on the fullest GPU; and that share.

        best[j] is the share for the first j layers on the GPUs so far, and cuts[g][j] the first layer of GPU g then.
        """
        count = self.shape.layers
        best = {0: 0.0}
        cuts: list[dict[int, int]] = []
        for g, budget in enumerate(budgets):
            rest = len(budgets) - 1 - g
            prefill = self.prefill(chunk, head=g == head)
            ends = range(g + 1, count - rest + 1) if rest else [count]
            following: dict[int, float] = {}
            cut: dict[int, int] = {}
            for last in ends:
                for first, share in best.items():
                    if first >= last:
                        continue
                    fullest = max(share, self._total(first, last, prefill, head=g == head) / max(budget, 1))
                    if last not in following or fullest < following[last]:
                        following[last], cut[last] = fullest, first
            best = following
            cuts.append(cut)
        runs: list[tuple[int, int]] = []
        last = count
        for cut in reversed(cuts):
            runs.append((cut[last], last))
            last = cut[last]
        return best[count], Placement(tuple(reversed(runs)), head)


def place(costs: Costs, budgets: Sequence[int]) -> tuple[int, Placement]:
    """Returns the largest chunk in tokens that fits, and the placement for it.

    lm_head goes to the GPU that leaves room for the largest chunk; among equals, to the first one, which has the
    embedding's output. If nothing fits, the chunk is 0 tokens, and the placement is the closest to fitting.
    """
    chunks = [costs.largest_chunk(budgets, head) for head in range(len(budgets))]
    largest = max(chunks)
    heads = [chunks.index(largest)] if largest else range(len(budgets))
    found = [costs.balance(budgets, head, max(largest, 1)) for head in heads]
    return largest, min(found, key=lambda f: f[0])[1]
