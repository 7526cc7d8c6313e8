"""The placement is the best one: checked against every possible placement of a small model."""

from itertools import combinations, product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from leviathan_engine.model.reference import TINY, q4_k_m
from leviathan_engine.plan import vram
from leviathan_engine.plan.place import Costs, Placement, place

COSTS = Costs(q4_k_m(TINY), TINY, 256)
CONTEXT = COSTS.need(0, 1, 1, head=True).context
WHOLE = COSTS.need(0, 4, 256, head=True).total - CONTEXT


def every_placement(cards: int) -> list[Placement]:
    cuts = combinations(range(1, TINY.layers), cards - 1)
    runs = [tuple(zip((0, *cut), (*cut, TINY.layers), strict=True)) for cut in cuts]
    return [Placement(layers, head) for layers, head in product(runs, range(cards))]


def largest_by_trying(placement: Placement, budgets: list[int]) -> int:
    def fits(chunk: int) -> bool:
        return all(n.total <= b for n, b in zip(COSTS.needs(placement, chunk), budgets, strict=True))

    largest = max((n for n in range(1, COSTS.cache_lens + 1) if fits(n)), default=0)
    return largest - largest % 64 or largest


@settings(max_examples=60, deadline=None)
@example(shares=[54, 34, 49])  # layer 2 is larger than layer 1: the first GPU must not take all that it can
@given(shares=st.lists(st.integers(0, 130), min_size=1, max_size=3))
def test_no_placement_with_this_head_takes_larger_chunks_or_is_less_full(shares: list[int]) -> None:
    budgets = [CONTEXT + WHOLE * share // 100 for share in shares]
    largest, found = place(COSTS, budgets)
    tried = {p: largest_by_trying(p, budgets) for p in every_placement(len(budgets))}
    assert largest == max(tried.values())

    def fullest(placement: Placement) -> float:
        needs = COSTS.needs(placement, max(largest, 1))
        return max(n.total / b for n, b in zip(needs, budgets, strict=True))

    equals = [placement for placement, chunk in tried.items() if chunk == largest]
    if largest:
        assert tried[found] == largest
        assert found.head == min(placement.head for placement in equals)
        equals = [placement for placement in equals if placement.head == found.head]
    assert fullest(found) == pytest.approx(min(map(fullest, equals)))


def test_needs_of_a_placement_add_up() -> None:
    whole = COSTS.need(0, 4, 100, head=True)
    parts = COSTS.needs(Placement(((0, 1), (1, 4)), 1), 100)
    for name in ("marlin", "bf16", "router", "lm_head", "kv_cache"):
        assert sum(getattr(p, name) for p in parts) == getattr(whole, name), name
    assert [p.lm_head > 0 for p in parts] == [False, True]
    assert whole.total == whole.context + whole.weights + max(whole.kv_cache + whole.prefill, whole.loading)


def test_loading_counts_where_it_is_larger_than_running(monkeypatch: pytest.MonkeyPatch) -> None:
    # Packing 512*1024 weights for Marlin takes 20 B each for a moment; a chunk of one token takes next to nothing.
    monkeypatch.setattr(vram, "DECODE_FROM_BLOCKS", False)
    need = Costs(q4_k_m(TINY), TINY, 256).need(0, 1, 1, head=False)
    assert need.loading == 20 * 512 * 1024 - (512 * 1024 * 17 // 32 + 512)
    assert need.total == need.context + need.weights + need.loading
