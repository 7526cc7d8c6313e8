"""Chooses the experts of a streamed layer that the CPU computes meanwhile: those with the fewest tokens.

An expert takes a link the same time however many tokens it has. The CPU takes longer the more tokens it has, so it gets
experts with few tokens, until it would need more time than the links need for the others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

# The CPU is slower while a link reads main memory, too; by how much is found by trying these factors at the start.
SLOWER = (1.0, 1.25, 1.6, 2.2)
# What the CPU's part has to save, as a share of the time without it: less is within a measurement's noise.
GAIN = 0.05


@dataclass(frozen=True)
class Costs:
    """Seconds that one expert takes: copied over each of the `links`; on the CPU `least` for up to `few` tokens, and
    `token` for each further one. `ahead`: experts that a link may copy before the router has chosen."""

    links: tuple[float, ...]
    least: float
    few: float
    token: float
    ahead: int

    def cpu(self, tokens: int) -> float:
        """Returns the seconds of an expert with `tokens` tokens on the CPU."""
        return self.least + self.token * max(0.0, tokens - self.few)


def fitted(links: Sequence[float], few: tuple[float, float], many: tuple[float, float], ahead: int) -> Costs:
    """Returns the costs through two measurements of the CPU, each tokens and seconds of an expert."""
    token = max(0.0, (many[1] - few[1]) / (many[0] - few[0]))
    return Costs(tuple(links), few[1], few[0], token, ahead)


def for_cpu(counts: Sequence[int], shares: Sequence[Sequence[int]], costs: Costs) -> set[int]:
    """Returns the experts that the CPU is to compute.

    Args:
        counts: tokens of each expert.
        shares: the experts that each link copies, in its order.
        costs: seconds of an expert.
    """
    left = [
        (len(share[: costs.ahead]) + sum(counts[n] > 0 for n in share[costs.ahead :])) * seconds
        for share, seconds in zip(shares, costs.links, strict=True)
    ]
    most_first = [sorted((n for n in s[costs.ahead :] if counts[n]), key=lambda n: (-counts[n], n)) for s in shares]
    chosen: set[int] = set()
    cpu = 0.0
    while True:
        link = left.index(max(left))
        if not most_first[link]:
            return chosen
        expert = most_first[link].pop()
        cpu += costs.cpu(counts[expert])
        left[link] -= costs.links[link]
        if cpu > left[link]:
            return chosen
        chosen.add(expert)


def quickest(costs: Costs, seconds: Callable[[Costs | None], float]) -> tuple[Costs | None, float, float]:
    """Returns the costs with which a layer is quickest, None if the CPU's part saves nothing, and the seconds of a
    layer with and without it.

    Args:
        costs: as measured while nothing else reads main memory.
        seconds: measures a layer with the given costs.
    """
    alone = seconds(None)
    tried = [replace(costs, least=costs.least * by, token=costs.token * by) for by in SLOWER]
    took = [seconds(each) for each in tried]
    best = took.index(min(took))
    return (tried[best], took[best], alone) if took[best] < (1 - GAIN) * alone else (None, alone, alone)
