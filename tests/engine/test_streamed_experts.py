"""Streamed experts on the CPU: the order of experts, layers and tokens, against a plain computation in float64."""

import ctypes
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from expert_files import CHOICES, EXPERTS, HIDDEN, LIMIT, WIDTH, Counting, distance, given, layers, streamed_layers

from leviathan_engine.gguf.types import GgmlType
from leviathan_operators.experts.files import LayerFiles, Weight
from leviathan_operators.experts.products import by_expert
from leviathan_operators.experts.ring import Ring
from leviathan_operators.experts.streamed import StreamedLayer
from leviathan_operators.kernels.library import Slots
from leviathan_operators.reference.expert_layer import experts
from leviathan_operators.reference.operators import PlainOperators, PlainRing


def test_layers_in_turn_read_ahead_once(tmp_path: Path) -> None:
    files, held = layers(tmp_path, 3)
    ring = Counting()
    streamed = streamed_layers(ring, [StreamedLayer(each) for each in files])
    for chunk in range(2):
        for position in range(3):
            x, ids, weights = given(40, chunk * 10 + position)
            exact = experts(held[position], x, ids, weights, torch.float64)
            assert distance(streamed.layer(position, x, ids, weights), exact) < LIMIT
    assert ring.begun == [[EXPERTS] * 2, [EXPERTS]] * 2, "the last layer is read when it is computed"
    assert ring.open == set()


def test_another_layers_weights_are_seen(tmp_path: Path) -> None:
    """The control of the test above."""
    files, held = layers(tmp_path, 2)
    x, ids, weights = given(40)
    streamed = streamed_layers(PlainRing(), [StreamedLayer(each) for each in files])
    assert distance(streamed.layer(1, x, ids, weights), experts(held[0], x, ids, weights, torch.float64)) > 0.5


def test_a_dropped_chunk_starts_again(tmp_path: Path) -> None:
    files, held = layers(tmp_path, 3)
    ring = Counting()
    streamed = streamed_layers(ring, [StreamedLayer(each) for each in files])
    x, ids, weights = given(12)
    streamed.layer(0, x, ids, weights)
    exact = experts(held[0], x, ids, weights, torch.float64)
    assert distance(streamed.layer(0, x, ids, weights), exact) < LIMIT
    assert len(ring.begun) == 2


def test_a_failure_does_not_shift_the_experts(tmp_path: Path) -> None:
    class Failing(Counting):
        fail = False

        def wait(self, item: int, queue: int) -> int:
            if self.fail and item == 3:
                raise RuntimeError("disk")
            return super().wait(item, queue)

    files, held = layers(tmp_path, 2)
    ring = Failing()
    streamed = streamed_layers(ring, [StreamedLayer(each) for each in files])
    x, ids, weights = given(12)
    ring.fail = True
    with pytest.raises(RuntimeError, match="disk"):
        streamed.layer(0, x, ids, weights)
    ring.fail = False
    for position in range(2):
        exact = experts(held[position], x, ids, weights, torch.float64)
        assert distance(streamed.layer(position, x, ids, weights), exact) < LIMIT


def test_resident_experts_are_not_read(tmp_path: Path) -> None:
    files, held = layers(tmp_path, 1)
    here = {n: tuple(w[n].data_ptr() for w in (held[0].gate, held[0].up, held[0].down)) for n in (1, 4)}
    ring = Counting()
    streamed = streamed_layers(ring, [StreamedLayer(files[0], here)])
    x, ids, weights = given(30)
    assert distance(streamed.layer(0, x, ids, weights), experts(held[0], x, ids, weights, torch.float64)) < LIMIT
    assert ring.begun == [[EXPERTS - 2]]


@pytest.mark.parametrize("experts_of_layers", [[[1, 4], [], [5, 0, 2]], [[], [], []]])
def test_a_ring_is_given_the_runs_of_every_expert(tmp_path: Path, experts_of_layers: list[list[int]]) -> None:
    """As `LayerFiles.runs` has them, over several layers; another link may have all experts of a layer, or of all."""
    files, _held = layers(tmp_path, 3)
    seen: list[list[int]] = []

    def begin(_ring: object, runs: int, ends: int, items: int) -> int:
        seen.append(list((ctypes.c_int64 * (12 * items)).from_address(runs)))
        seen.append(list((ctypes.c_int64 * items).from_address(ends)))
        return 0

    ring = Ring.__new__(Ring)
    ring._library = SimpleNamespace(leviathan_ring_begin=begin)  # type: ignore[assignment]
    ring._ring = None
    ring.begin(files, experts_of_layers)
    wanted = [run for f, chosen in zip(files, experts_of_layers, strict=True) for n in chosen for run in f.runs(n)]
    assert seen == [[value for run in wanted for value in run], list(range(3, len(wanted) + 1, 3))]


def test_pairs_of_minus_one_are_left_out() -> None:
    ids = torch.tensor([[2, -1], [0, 2], [-1, -1]])
    weights = torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    tokens, scales, counts = by_expert(ids, weights, 4)
    assert tokens.tolist() == [1, 0, 1]
    assert scales.tolist() == pytest.approx([0.3, 0.1, 0.4])
    assert counts == [1, 0, 2, 0]


def test_types_that_the_gpu_does_not_read_are_named() -> None:
    weight = Weight(0, 0, 100, GgmlType.Q4_K)
    assert LayerFiles(5, weight, weight, weight, 8, 256, 512).unfit() == ""
    other = Weight(0, 0, 100, GgmlType.Q4_0)
    assert "layer 5: the experts' down is Q4_0" in LayerFiles(5, weight, weight, other, 8, 256, 512).unfit()
    assert "got Q4_K and Q6_K" in LayerFiles(5, weight, Weight(0, 0, 100, GgmlType.Q6_K), weight, 8, 256, 512).unfit()


def test_the_plain_operators_agree_with_the_plain_layer(tmp_path: Path) -> None:
    """gate_up, down and route, the decode path, for a token with some experts elsewhere."""
    _, held = layers(tmp_path, 1)
    x, ids, weights = given(2)
    table = torch.tensor([-1, 0, 1, -1, 2, 3], dtype=torch.int32)
    weights_in_slots = (held[0].gate, held[0].up, held[0].down)
    pool = torch.stack([torch.cat([weight[n] for weight in weights_in_slots]) for n in (1, 2, 4, 5)])
    places = [pool.data_ptr() + sum(w.shape[1] for w in weights_in_slots[:i]) for i in range(3)]
    resident = Slots(*places, pool.shape[1], GgmlType.Q4_K, GgmlType.Q6_K)
    operators = PlainOperators()
    slots, cpu_ids = torch.empty(ids.shape, dtype=torch.int32), torch.empty_like(ids)
    uses = torch.zeros(EXPERTS, dtype=torch.int64)
    operators.route(ids, table, slots, cpu_ids, uses)
    hidden, out = torch.empty(2, CHOICES, WIDTH), torch.empty(2, HIDDEN)
    operators.gate_up(resident, slots, x, hidden)
    operators.down(resident, slots, weights, hidden, out)
    here = torch.where(slots >= 0, ids, -1)
    assert distance(out, experts(held[0], x, here, weights, torch.float64)) < 1e-5
    both = out.double() + experts(held[0], x, cpu_ids, weights, torch.float64)
    assert distance(both, experts(held[0], x, ids, weights, torch.float64)) < 1e-5
    assert uses.tolist() == torch.bincount(ids.flatten(), minlength=EXPERTS).tolist()


def test_experts_that_nobody_chose_are_left_out(tmp_path: Path) -> None:
    """Of two layers expert 3 and of the second one expert 0 too; the items are counted over the layers."""
    files, held = layers(tmp_path, 3)
    ring = Counting()
    streamed = streamed_layers(ring, [StreamedLayer(each) for each in files])
    x, _, weights = given(20)
    for position, chosen in enumerate(([0, 1, 2, 4, 5], [1, 2, 4, 5])):
        ids = torch.tensor(chosen).repeat(20, 1)[:, [n % len(chosen) for n in range(CHOICES)]]
        ids[10:] = torch.tensor(chosen[-CHOICES:])
        exact = experts(held[position], x, ids, weights, torch.float64)
        assert distance(streamed.layer(position, x, ids, weights), exact) < LIMIT
    assert ring.skipped == [3, EXPERTS, EXPERTS + 3]
    assert ring.open == set()
