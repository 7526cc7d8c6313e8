"""Which experts stay on a GPU, and the file that keeps how often each was chosen."""

import json
import random
from pathlib import Path

import pytest

from leviathan_operators.experts.counts import SAVE_SECONDS, PlacementFile, UseFile, Uses, added
from leviathan_operators.experts.placement import Candidate, Swap, choose, evened, hit_rate, swaps

LAYERS = [Candidate(layer, 8, 100 if layer % 2 else 120) for layer in range(3, 9)]


def test_without_counts_every_layer_has_as_many() -> None:
    chosen = choose(LAYERS, 6 * 120 * 2, None)
    assert {len(experts) for experts in chosen.values()} <= {2, 3}
    assert all(experts[:2] == (0, 1) for experts in chosen.values())


def test_the_most_used_stay() -> None:
    counts = {c.layer: [10 * e + c.layer for e in range(8)] for c in LAYERS}
    chosen = choose(LAYERS, 700, counts)
    taken = sum(c.slot_bytes * len(chosen[c.layer]) for c in LAYERS)
    assert taken <= 700
    assert all(7 in experts for experts in chosen.values() if experts)
    assert hit_rate(chosen, counts) > hit_rate(choose(LAYERS, 700, None), counts)  # type: ignore[operator]


def test_no_choice_of_as_many_bytes_is_better() -> None:
    """Slots of one size: the sum of the chosen counts is the largest there is."""
    rng = random.Random(4)
    layers = [Candidate(layer, 16, 10) for layer in range(5)]
    for _ in range(50):
        counts = {c.layer: [rng.randrange(1000) for _ in range(16)] for c in layers}
        room = rng.randrange(900)
        chosen = choose(layers, room, counts)
        best = sum(sorted((n for row in counts.values() for n in row), reverse=True)[: room // 10])
        assert sum(counts[layer][e] for layer, experts in chosen.items() for e in experts) == best


def test_a_layer_that_saw_fewer_tokens_gets_its_share() -> None:
    """The last layer computes one token of a prompt, with the same preferences as another one."""
    counts = {3: [400, 300, 200, 100], 4: [4, 3, 2, 1], 5: [0] * 4}
    assert evened(counts) == {3: [400, 300, 200, 100], 4: [400, 300, 200, 100], 5: [0] * 4}
    layers = [Candidate(layer, 4, 1) for layer in counts]
    assert choose(layers, 4, counts) == {3: (0, 1, 2, 3), 4: (), 5: ()}
    assert choose(layers, 4, evened(counts)) == {3: (0, 1), 4: (0, 1), 5: ()}
    assert evened({}) == {}


def test_no_room_and_room_for_all() -> None:
    assert not any(choose(LAYERS, 99, None).values())
    assert all(len(experts) == 8 for experts in choose(LAYERS, 10**6, None).values())
    assert hit_rate({}, {3: [0] * 8}) is None


def file(folder: Path) -> UseFile:
    return UseFile(folder / "uses.json", [3, 4], 4)


def test_counts_are_kept_over_restarts(tmp_path: Path) -> None:
    said: list[str] = []
    now = [0.0]
    uses = Uses(file(tmp_path), said.append, lambda: now[0])
    uses.keep(lambda: pytest.fail("too early"))
    now[0] += SAVE_SECONDS
    uses.keep(lambda: {3: [1, 2, 3, 4], 4: [0, 0, 0, 9]})
    again = Uses(file(tmp_path), said.append, lambda: now[0])
    assert again.before == {3: [1, 2, 3, 4], 4: [0, 0, 0, 9]}
    now[0] += SAVE_SECONDS
    again.keep(lambda: {3: [1, 0, 0, 0], 4: [0, 0, 0, 1]})
    assert file(tmp_path).read() == ({3: [2, 2, 3, 4], 4: [0, 0, 0, 10]}, "")
    assert said == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot read "),
        ("[]", "expected counts for this model's layers"),
        (json.dumps({"version": 1, "uses": {"3": [1, 2, 3, 4]}}), "expected counts for this model's layers"),
        (json.dumps({"version": 1, "uses": {"3": [1, 2, 3, 4], "4": [1]}}), "expected 4 counts per layer"),
        (json.dumps({"version": 1, "uses": {"3": [1, 2, 3, -4], "4": [1, 1, 1, 1]}}), "expected 4 counts per layer"),
        (json.dumps({"version": 1, "uses": {"3": [1, 2, 3, True], "4": [1, 1, 1, 1]}}), "expected 4 counts per layer"),
    ],
)
def test_another_models_counts_are_refused(tmp_path: Path, text: str, words: str) -> None:
    file(tmp_path).path.write_text(text, encoding="utf-8")
    counts, why = file(tmp_path).read()
    assert counts == {}
    assert words in why


def test_a_folder_that_takes_no_file_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    now = [0.0]
    uses = Uses(UseFile(tmp_path / "none" / "uses.json", [3], 1), said.append, lambda: now[0])
    now[0] += SAVE_SECONDS
    uses.keep(lambda: {3: [1]})
    assert len(said) == 1
    assert "cannot save" in said[0]


def test_added_takes_what_is_new() -> None:
    assert added({}, {3: [1, 2]}) == {3: [1, 2]}
    assert added({3: [1, 1]}, {3: [1, 2]}) == {3: [2, 3]}


def test_swaps_bring_the_most_used_and_take_the_least() -> None:
    """Across layers, those that gain most first, no more than asked for; a layer that is there as a whole stays."""
    counts = {3: [0, 500, 900, 80], 4: [7000, 0, 0, 0], 5: [0, 0, 0, 0]}
    resident = {3: (0, 1), 4: (1,), 5: (0, 1, 2, 3)}
    assert swaps(resident, 4, counts, 9) == [Swap(3, 0, 4, 0), Swap(4, 1, 3, 2)]
    assert swaps(resident, 4, counts, 1) == [Swap(3, 0, 4, 0)]
    assert not swaps({3: (2, 1), 4: (0,)}, 4, counts, 9)
    assert not swaps(resident, 4, {}, 9)


def test_swaps_never_lower_what_is_found() -> None:
    rng = random.Random(6)
    for _ in range(100):
        counts = {layer: [rng.randrange(2000) for _ in range(8)] for layer in range(3)}
        there = {layer: set(rng.sample(range(8), rng.randrange(8))) for layer in counts}

        def found(there: dict[int, set[int]] = there, counts: dict[int, list[int]] = counts) -> int:
            return sum(counts[layer][e] for layer, row in there.items() for e in row)

        before, number = found(), sum(map(len, there.values()))
        for move in swaps(there, 8, counts, 5):
            there[move.from_layer].remove(move.leaving)
            assert move.expert not in there[move.layer]
            there[move.layer].add(move.expert)
        assert found() >= before
        assert sum(map(len, there.values())) == number


def test_counts_of_another_machine(tmp_path: Path) -> None:
    """Taken by a start that has none, and by no later one."""
    said: list[str] = []
    other = UseFile(tmp_path / "other.json", [3, 4], 4)
    other.write({3: [1, 2, 3, 4], 4: [5, 0, 0, 0]})
    uses = Uses(file(tmp_path), said.append)
    uses.take(other.path)
    assert uses.before == {3: [1, 2, 3, 4], 4: [5, 0, 0, 0]}
    assert "15 expert uses" in said[-1]
    assert uses.write({3: [1, 0, 0, 0], 4: [0, 0, 0, 0]})[3] == [2, 2, 3, 4]
    again = Uses(file(tmp_path), said.append)
    again.take(other.path)
    assert again.before[3] == [2, 2, 3, 4]
    assert "its own counts" in said[-1]
    Uses(UseFile(tmp_path / "third.json", [3], 2), said.append).take(other.path)
    assert "expected counts for this model" in said[-1]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"version": 1, "placement": {"3": [9]}}', '{"version": 1, "placement": {"3": [1, 0], "4": []}}'],
)
def test_a_placement_that_does_not_fit_is_none(tmp_path: Path, text: str) -> None:
    kept = PlacementFile(tmp_path / "placement.json")
    assert kept.read({3: 4}) is None
    kept.write({3: [0, 2], 4: []})
    assert kept.read({3: 4, 4: 4}) == {3: (0, 2), 4: ()}
    assert kept.read({3: 4}) == {3: (0, 2)}
    assert kept.read({3: 2}) is None
    assert kept.read({5: 4}) is None
    kept.path.write_text(text, encoding="utf-8")
    assert kept.read({3: 4}) is None
