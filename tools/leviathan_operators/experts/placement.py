"""Which experts stay on a GPU: those chosen most often for their bytes, or, without counts, as many of each layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Counts = Mapping[int, Sequence[int]]


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
