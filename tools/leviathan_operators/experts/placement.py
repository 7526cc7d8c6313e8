"""Chooses the resident experts of a GPU: those chosen most often per byte, or without counts the same number per layer.

Counts change while the engine runs: `swaps` returns the experts that should change places. Both take `evened` counts.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Counts = Mapping[int, Sequence[int]]
# An expert replaces another one if it was chosen this much more often, so a short conversation moves nothing.
MORE, AT_LEAST = 1.25, 64


@dataclass(frozen=True)
class Candidate:
    """One layer on the GPU: its number in the model, its experts, and the bytes of an expert's slot."""

    layer: int
    experts: int
    slot_bytes: int


def evened(counts: Counts) -> dict[int, list[int]]:
    """Returns the counts as if all layers had seen as many tokens as the one with the most uses.

    The last layer computes one token of a chunk (`operators/last_layer.py`), and so counts fewer.
    """
    totals = {layer: sum(uses) for layer, uses in counts.items()}
    most = max(totals.values(), default=0)
    return {layer: [n * most // max(1, totals[layer]) for n in uses] for layer, uses in counts.items()}


def choose(candidates: Sequence[Candidate], room: int, counts: Counts | None) -> dict[int, tuple[int, ...]]:
    """Returns the resident experts of each layer, in ascending order, within `room` bytes.

    `counts` has the uses of each expert by layer; a missing layer counts as never used. Among equal counts, takes
    expert 0 of all layers first, then expert 1, and so on.
    """

    def rank(pair: tuple[Candidate, int]) -> tuple[float, int, int]:
        candidate, expert = pair
        uses = (counts or {}).get(candidate.layer)
        return -(uses[expert] / candidate.slot_bytes if uses else 0.0), expert, candidate.layer

    chosen: dict[int, list[int]] = {candidate.layer: [] for candidate in candidates}
    for candidate, expert in sorted(((c, e) for c in candidates for e in range(c.experts)), key=rank):
        if candidate.slot_bytes <= room:
            room -= candidate.slot_bytes
            chosen[candidate.layer].append(expert)
    return {layer: tuple(sorted(experts)) for layer, experts in chosen.items()}


def hit_rate(chosen: Mapping[int, Sequence[int]], counts: Counts) -> float | None:
    """Returns the share of the counted uses that the chosen experts serve; None without counts."""
    total = sum(sum(uses) for uses in counts.values())
    if not total:
        return None
    return (
        sum(counts[layer][expert] for layer, experts in chosen.items() if layer in counts for expert in experts) / total
    )


class Swap(NamedTuple):
    """`expert` of `layer` replaces `leaving` of `from_layer` in its slot."""

    from_layer: int
    leaving: int
    layer: int
    expert: int


def swaps(resident: Mapping[int, Collection[int]], experts: int, counts: Counts, most: int) -> list[Swap]:
    """Returns up to `most` swaps among layers that share slots, those with the largest gain first.

    Args:
        resident: the resident experts by layer. A layer with all of its experts keeps them.
        experts: number of experts of a layer.
        counts: number of uses of each expert.
        most: maximum number of swaps.
    """
    layers = [layer for layer, there in resident.items() if len(there) < experts and layer in counts]
    there = [(counts[layer][e], layer, e) for layer in layers for e in resident[layer]]
    absent = [(counts[layer][e], layer, e) for layer in layers for e in range(experts) if e not in resident[layer]]
    pairs = zip(sorted(there), sorted(absent, key=lambda one: (-one[0], *one[1:])), strict=False)
    wanted = [(out, into) for out, into in pairs if into[0] > MORE * out[0] + AT_LEAST]
    return [Swap(out[1], out[2], into[1], into[2]) for out, into in wanted[:most]]
