"""Measures, on one layer, how fast experts are streamed to the GPUs and computed by the CPU, alone and together."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from .hybrid import GAIN, Costs, fitted, quickest
from .installed import Placed
from .ring import Ring
from .streamed import Cpu, Link, StreamedExperts, StreamedLayer, experts_of, owners, turns

# Two links share a layer's experts, by the measured rates, in this many parts; four links in twice as many.
SHARES = 8
# Tokens of the CPU's measurement: enough that most experts of a layer get several.
TRIAL_TOKENS = 256
# The CPU's experts with many tokens are measured on so few of them that each gets about 64.
TRIAL_EXPERTS = 32
# Tokens of a chunk with which the CPU's part is tried, and from the smallest on whether the CPU alone is slower.
HYBRID_TRIAL = 512
SMALL_CHUNKS = (32, 64, 128, 256)
# With fewer tokens than this, most experts get none, and the CPU only reads the experts that it needs.
LEAST = 32


@dataclass(frozen=True)
class Rates:
    """Seconds of a layer: `streamed` to the GPU, for any number of tokens, and on the `cpu` for `tokens` tokens."""

    streamed: float
    cpu: float
    tokens: int = TRIAL_TOKENS

    @property
    def threshold(self) -> int:
        """The smallest number of tokens for which streaming is not slower.

        Assumes that the CPU's time is proportional to the tokens, which is true from TRIAL_TOKENS.
        """
        if self.cpu <= 0:
            return LEAST
        return max(LEAST, round(self.streamed / self.cpu * self.tokens))


@dataclass(frozen=True)
class Hybrid:
    """What was measured with the CPU computing a part of the experts: the `costs` by which it takes them, seconds of a
    layer of HYBRID_TRIAL with its part and `alone`, and the `threshold` in tokens, None if the CPU alone was quicker
    for every size that was tried."""

    costs: Costs
    together: float
    alone: float
    threshold: int | None


def shares_of(seconds: Sequence[float]) -> list[int]:
    """Returns the links' shares of a layer, from the seconds that each takes alone: SHARES / 2 for an average link."""
    rates = [1 / max(time, 1e-9) for time in seconds]
    return [round(SHARES * len(rates) / 2 * rate / sum(rates)) for rate in rates]


def trial(layer: Placed, tokens: int, among: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns hidden vectors, choices among the first experts and their weights, all random, on the layer's device."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(tokens, layer.files.hidden, generator=random).bfloat16()
    chosen = torch.rand(tokens, among, generator=random).topk(layer.module.config.num_experts_per_tok)
    return x.to(layer.device), chosen.indices.to(layer.device), chosen.values.to(layer.device)


def computed_on_cpu(layer: Placed, x: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor) -> None:
    """Computes the chosen experts by the threads of decoding, and waits for the result on the layer's device."""
    with torch.cuda.device(layer.device):
        layer.module.experts(x, ids, weights)
        torch.cuda.synchronize(layer.device)


def measure(
    rings: Sequence[Ring], layer: Placed, absent: Sequence[int], *, cpu: bool
) -> tuple[list[int], Rates | None]:
    """Measures one layer: streaming without computing, and computing on the CPU.

    The layer's `absent` experts are streamed, all if there are none; the seconds of streaming are those of all.
    Returns the links' shares, and the rates over all links together and of the CPU, or None without `cpu`.
    """
    queues = [torch.cuda.current_stream(ring.device).cuda_stream for ring in rings]
    x, ids, weights = trial(layer, TRIAL_TOKENS, layer.files.experts)
    streamed = absent or range(layer.files.experts)

    def once(order: Sequence[int]) -> None:
        items, owner = [0] * len(rings), owners(streamed, order)
        for n, ring in enumerate(rings):
            ring.begin([layer.files], [experts_of(owner, n)])
        for n in owner.values():
            rings[n].wait(items[n], queues[n])
            rings[n].release(items[n], queues[n])
            items[n] += 1
        for ring in rings:
            torch.cuda.synchronize(ring.device)

    shares = [1]
    if len(rings) > 1:
        shares = shares_of([seconds(partial(once, [n])) for n in range(len(rings))])
    if not cpu:
        return shares, None
    every = seconds(partial(once, turns(shares))) * layer.files.experts / len(streamed)
    return shares, Rates(every, seconds(partial(computed_on_cpu, layer, x, ids, weights)))


def measure_hybrid(
    operators: Any, links: Sequence[Link], layer: Placed, part: StreamedLayer, cpu: Cpu, streamed: float, ahead: int
) -> Hybrid | None:
    """Measures one layer with the CPU computing a part of its experts; None if that saves nothing.

    Args:
        operators: the library of kernels.
        links: the GPUs.
        layer, part, cpu: the layer, as it is streamed, and its experts on the CPU.
        streamed: seconds for all of its experts over all links.
        ahead: slots of a ring.

    Errors: KernelError.
    """

    def an_expert(tokens: int, among: int) -> tuple[float, float]:
        """Returns tokens and seconds of an expert by the threads of prompts."""
        x, ids, weights = trial(layer, tokens, among)
        kept = ids.cpu()

        def once() -> None:
            cpu.start(x, kept, weights)
            cpu.result(x.device)
            torch.cuda.synchronize(layer.device)

        number = len(kept.unique())
        return ids.numel() / number, seconds(once) / number

    def all_on_cpu(tokens: int) -> float:
        x, ids, weights = trial(layer, tokens, layer.files.experts)
        return seconds(partial(computed_on_cpu, layer, x, ids, weights))

    def streamed_layer(tokens: int, costs: Costs | None) -> float:
        x, ids, weights = trial(layer, tokens, layer.files.experts)
        one = StreamedExperts(operators, links, [part], costs)

        def once() -> None:
            one.layer(0, x, ids, weights)
            torch.cuda.synchronize(layer.device)

        return seconds(once)

    few, many = an_expert(LEAST, layer.files.experts), an_expert(TRIAL_TOKENS, min(TRIAL_EXPERTS, layer.files.experts))
    parts = sum(link.share for link in links)
    copied = [streamed / layer.files.experts * parts / max(link.share, 1) for link in links]
    costs = fitted(copied, few, many, ahead)
    best, together, alone = quickest(costs, partial(streamed_layer, HYBRID_TRIAL))
    if best is None:
        return None
    threshold = next((n for n in SMALL_CHUNKS if streamed_layer(n, best) < (1 - GAIN) * all_on_cpu(n)), None)
    return Hybrid(best, together, alone, threshold)


def seconds(work: Callable[[], None]) -> float:
    """Runs a function once to warm up, then returns the seconds of a second time."""
    work()
    began = now()
    work()
    return now() - began


def now() -> float:
    """Returns the seconds of the clock for the calibration."""
    return time.perf_counter()
