"""Which experts stay on a GPU: those chosen most often for their bytes, or, without counts, as many of each layer.

Counts change while the engine runs: `swaps` says which experts should change places then.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Counts = Mapping[int, Sequence[int]]
# An expert takes another's place when it was chosen so much more often: counts of a short talk move nothing.
MORE, AT_LEAST = 1.25, 64


@dataclass(frozen=True)
class Candidate:
    """One layer on the GPU in question: its number in the model, its experts, and the bytes of a slot for one."""

    layer: int
    experts: int
    slot_bytes: int


def choose(candidates: Sequence[Candidate], room: int, counts: Counts | None) -> dict[int, tuple[int, ...]]:
    """The experts of each layer that stay, in ascending order, within `room` bytes.

    `counts` holds how often each expert of a layer was chosen; a layer that is missing there counts as never chosen.
    Equal counts are taken evenly: the experts 0 of all layers, then the experts 1.
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
    """The share of the counted choices that fell on chosen experts; None without any count."""
    total = sum(sum(uses) for uses in counts.values())
    if not total:
        return None
    return (
        sum(counts[layer][expert] for layer, experts in chosen.items() if layer in counts for expert in experts) / total
    )


class Swap(NamedTuple):
    """`expert` of `layer` comes into the slot of `leaving` of `from_layer`."""

    from_layer: int
    leaving: int
    layer: int
    expert: int


def swaps(resident: Mapping[int, Collection[int]], experts: int, counts: Counts, most: int) -> list[Swap]:
    """Up to `most` swaps among layers that share slots, those that gain most first.

    Args:
        resident: the experts that are there, by layer. A layer that is there as a whole keeps all of them.
        experts: how many a layer has.
        counts: how often each was chosen.
        most: swaps, at most.
    """
    layers = [layer for layer, there in resident.items() if len(there) < experts and layer in counts]
    there = [(counts[layer][e], layer, e) for layer in layers for e in resident[layer]]
    absent = [(counts[layer][e], layer, e) for layer in layers for e in range(experts) if e not in resident[layer]]
    pairs = zip(sorted(there), sorted(absent, key=lambda one: (-one[0], *one[1:])), strict=False)
    wanted = [(out, into) for out, into in pairs if into[0] > MORE * out[0] + AT_LEAST]
    return [Swap(out[1], out[2], into[1], into[2]) for out, into in wanted[:most]]
