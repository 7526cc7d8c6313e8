"""The placement is the best one: checked against every possible placement of a small model."""

from itertools import combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leviathan_engine.model.reference import TINY, q4_k_m
from leviathan_engine.plan.place import Costs, Placement, place

COSTS = Costs(q4_k_m(TINY), TINY, 256)
CONTEXT = COSTS.need(0, 1, 1, start=True, head=True).context
WHOLE = COSTS.need(0, 4, 256, start=True, head=True).total - CONTEXT


def every_placement(cards: int) -> list[Placement]:
    cuts = combinations(range(1, TINY.layers), cards - 1)
    runs = [tuple(zip((0, *cut), (*cut, TINY.layers), strict=True)) for cut in cuts]
    return [Placement(layers, head) for layers, head in product(runs, range(cards))]


def longest_by_trying(placement: Placement, budgets: list[int]) -> int:
    def fits(prompt: int) -> bool:
        return all(n.total <= b for n, b in zip(COSTS.needs(placement, prompt), budgets, strict=True))

    return max((p for p in range(1, COSTS.cache_lens + 1) if fits(p)), default=0)


@settings(max_examples=60, deadline=None)
@given(shares=st.lists(st.integers(0, 130), min_size=1, max_size=3))
def test_no_placement_takes_longer_prompts_or_is_less_full(shares: list[int]) -> None:
    budgets = [CONTEXT + WHOLE * share // 100 for share in shares]
    longest, found = place(COSTS, budgets)
    tried = {p: longest_by_trying(p, budgets) for p in every_placement(len(budgets))}
    assert longest == max(tried.values())

    def fullest(placement: Placement) -> float:
        needs = COSTS.needs(placement, max(longest, 1))
        return max(n.total / b for n, b in zip(needs, budgets, strict=True))

    best = min(fullest(p) for p, prompt in tried.items() if prompt == longest)
    assert fullest(found) == pytest.approx(best)
    if longest:
        assert tried[found] == longest


def test_needs_of_a_placement_add_up() -> None:
    whole = COSTS.need(0, 4, 100, start=True, head=True)
    parts = COSTS.needs(Placement(((0, 1), (1, 4)), 1), 100)
    for name in ("marlin", "bf16", "absorbed", "router", "lm_head", "kv_cache"):
        assert sum(getattr(p, name) for p in parts) == getattr(whole, name), name
    assert [p.lm_head > 0 for p in parts] == [False, True]
    assert whole.total == whole.context + whole.weights + max(whole.kv_cache + whole.prefill, whole.loading)


def test_loading_counts_where_it_is_larger_than_running() -> None:
    # Packing 512*1024 weights takes 20 B each for a moment; a prompt of one token takes next to nothing.
    need = COSTS.need(0, 1, 1, start=True, head=False)
    assert need.loading == 20 * 512 * 1024 - (512 * 1024 * 9 // 16 + 512)
    assert need.total == need.context + need.weights + need.loading
