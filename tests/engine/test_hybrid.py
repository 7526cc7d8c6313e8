"""The CPU computes a part of a streamed layer's experts: which ones, and that the sum is the same."""

import contextlib
from pathlib import Path
from random import Random
from types import SimpleNamespace

import pytest
import torch
from expert_files import CHOICES, EXPERTS, HIDDEN, LIMIT, Counting, distance, given, layers

from leviathan_operators import install_experts as install
from leviathan_operators.experts import calibrate
from leviathan_operators.experts.hybrid import SLOWER, Costs, fitted, for_cpu, quickest
from leviathan_operators.experts.on_cpu import Buffers, OnCpu
from leviathan_operators.experts.products import Products
from leviathan_operators.experts.streamed import Link, StreamedExperts, StreamedLayer, only
from leviathan_operators.reference.expert_layer import Blocks, experts
from leviathan_operators.reference.operators import PlainOperators, PlainRing

#: The CPU is quick, so that it takes all but the experts that a link may have begun.
QUICK = Costs((1.0,), 0.01, 1.0, 0.0, ahead=1)


class Cpu:
    """As OnCpu: computes in float32 what it is asked for."""

    def __init__(self, held: Blocks, most_tokens: int = 1000) -> None:
        self._held, self.most_tokens = held, most_tokens
        self.asked: list[set[int]] = []
        self.open = False

    def start(self, x: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor) -> None:
        assert not self.open
        self.open = True
        self.asked.append(set(ids.flatten().tolist()) - {-1})
        self._sum = experts(self._held, x, ids, weights)

    def result(self, device: torch.device) -> torch.Tensor:
        self.open = False
        return self._sum


@pytest.mark.parametrize("seed", range(200))
def test_the_cpu_ends_before_the_links(seed: int) -> None:
    """It takes none that a link may have begun, none without tokens, and of each link's those with the fewest."""
    random = Random(seed)
    counts = [random.choice((0, random.randrange(300))) for _ in range(random.randrange(1, 65))]
    links, ahead = random.randrange(1, 4), random.randrange(9)
    costs = Costs(tuple(1.0 + n for n in range(links)), random.uniform(0.1, 5), 2.0, random.uniform(0, 0.2), ahead)
    shares = [list(range(n, len(counts), links)) for n in range(links)]
    found = for_cpu(counts, shares, costs)
    candidates = [[n for n in share[ahead:] if counts[n]] for share in shares]
    assert found <= {n for share in candidates for n in share}
    left = [len(s[:ahead]) + sum(1 for n in s[ahead:] if counts[n] and n not in found) for s in shares]
    longest = max(number * seconds for number, seconds in zip(left, costs.links, strict=True))
    assert sum(costs.cpu(counts[n]) for n in found) <= longest
    for share in candidates:
        kept = [counts[n] for n in share if n not in found]
        taken = [counts[n] for n in share if n in found]
        assert not kept or not taken or min(kept) >= max(taken)


def test_a_slow_cpu_gets_none_and_a_quick_one_nearly_all() -> None:
    counts, shares = [5] * 20, [list(range(20))]
    assert for_cpu(counts, shares, Costs((1.0,), 100.0, 1.0, 0.0, 4)) == set()
    assert for_cpu(counts, shares, Costs((1.0,), 1e-6, 1.0, 0.0, 4)) == set(range(4, 20))
    assert len(for_cpu(counts, shares, Costs((1.0,), 1.0, 5.0, 0.0, 4))) == 10  # as quick as the link: half


def test_of_two_links_the_slower_one_is_helped() -> None:
    """Link 1 takes three times as long: its experts go first."""
    shares = [list(range(0, 20, 2)), list(range(1, 20, 2))]
    found = for_cpu([5] * 20, shares, Costs((1.0, 3.0), 3.0, 5.0, 0.0, 0))
    assert found
    assert all(n % 2 for n in found)


def test_costs_go_through_both_measurements() -> None:
    costs = fitted([1.0, 2.0], (2.0, 0.5), (64.0, 6.7), 16)
    assert costs.links == (1.0, 2.0)
    assert [costs.cpu(n) for n in (0, 2, 64, 126)] == pytest.approx([0.5, 0.5, 6.7, 12.9])
    assert fitted([1.0], (2.0, 0.5), (64.0, 0.4), 16).token == 0  # noise: never less for more tokens


def test_the_quickest_factor_is_taken() -> None:
    costs = Costs((1.0,), 1.0, 1.0, 0.5, 0)
    times = dict(zip([None, *SLOWER], (10.0, 12.0, 8.0, 7.0, 9.0), strict=True))
    best, together, alone = quickest(costs, lambda c: times[None if c is None else c.least])
    assert best == Costs((1.0,), SLOWER[2], 1.0, 0.5 * SLOWER[2], 0)
    assert (together, alone) == (7.0, 10.0)


def test_a_part_that_saves_nothing_is_left_out() -> None:
    best, together, alone = quickest(QUICK, lambda c: 10.0 if c is None else 9.7)
    assert best is None
    assert together == alone == 10.0


def test_the_cpus_part_is_added(tmp_path: Path) -> None:
    """Over three layers and two chunks: the CPU's experts are neither waited for nor computed by the GPU."""
    files, held = layers(tmp_path, 3)
    ring, cpus = Counting(), [Cpu(each) for each in held]
    products = Products(PlainOperators(), files, torch.device("cpu"))
    parts = [StreamedLayer(f, {}, cpu) for f, cpu in zip(files, cpus, strict=True)]
    streamed = StreamedExperts(PlainOperators(), [Link(ring, products)], parts, QUICK)
    for chunk in range(2):
        for position in range(3):
            x, ids, weights = given(40, chunk * 10 + position)
            exact = experts(held[position], x, ids, weights, torch.float64)
            assert distance(streamed.layer(position, x, ids, weights), exact) < LIMIT
    assert [cpu.asked for cpu in cpus] == [[set(range(1, EXPERTS))] * 2] * 3
    last = range(EXPERTS)  # which is begun alone
    assert ring.skipped == [n for _ in range(2) for n in (*range(2 * EXPERTS), *last) if n % EXPERTS]
    assert ring.open == set()


def test_without_the_cpus_part_the_sum_is_wrong(tmp_path: Path) -> None:
    """The control of the test above."""
    files, held = layers(tmp_path, 1)
    cpu = Cpu(held[0])
    cpu.result = lambda device: torch.zeros(40, HIDDEN)  # type: ignore[method-assign]
    products = Products(PlainOperators(), files, torch.device("cpu"))
    part = StreamedLayer(files[0], {}, cpu)
    streamed = StreamedExperts(PlainOperators(), [Link(PlainRing(), products)], [part], QUICK)
    x, ids, weights = given(40)
    assert distance(streamed.layer(0, x, ids, weights), experts(held[0], x, ids, weights, torch.float64)) > 0.3


def test_a_chunk_that_is_too_long_is_the_gpus_alone(tmp_path: Path) -> None:
    files, held = layers(tmp_path, 1)
    ring, cpu = Counting(), Cpu(held[0], most_tokens=39)
    products = Products(PlainOperators(), files, torch.device("cpu"))
    part = StreamedLayer(files[0], {}, cpu)
    streamed = StreamedExperts(PlainOperators(), [Link(ring, products)], [part], QUICK)
    x, ids, weights = given(40)
    assert distance(streamed.layer(0, x, ids, weights), experts(held[0], x, ids, weights, torch.float64)) < LIMIT
    assert cpu.asked == []
    assert ring.skipped == []


def test_a_failed_link_leaves_the_cpu_free(tmp_path: Path) -> None:
    class Failing(Counting):
        fail = True

        def wait(self, item: int, queue: int) -> int:
            if self.fail:
                raise RuntimeError("disk")
            return super().wait(item, queue)

    files, held = layers(tmp_path, 1)
    ring, cpu = Failing(), Cpu(held[0])
    products = Products(PlainOperators(), files, torch.device("cpu"))
    part = StreamedLayer(files[0], {}, cpu)
    streamed = StreamedExperts(PlainOperators(), [Link(ring, products)], [part], QUICK)
    x, ids, weights = given(12)
    with pytest.raises(RuntimeError, match="disk"):
        streamed.layer(0, x, ids, weights)
    assert not cpu.open
    ring.fail = False
    assert distance(streamed.layer(0, x, ids, weights), experts(held[0], x, ids, weights, torch.float64)) < LIMIT


def test_only_the_chosen_ids_stay() -> None:
    assert only(torch.tensor([[0, 1], [2, 1]]), {1}, 3).tolist() == [[-1, 1], [-1, 1]]


class Threads:
    """As CPUInfer, by a clock: work begins when it is submitted, and goes on while the caller does something else."""

    def __init__(self, clock: list[float]) -> None:
        self._clock, self._end = clock, 0.0

    def submit(self, seconds: float) -> None:
        self._end = self._clock[0] + seconds

    def sync(self) -> None:
        self._clock[0] = max(self._clock[0], self._end)


class Slow(Counting):
    """A link that takes a second for each expert."""

    def __init__(self, clock: list[float]) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, item: int, queue: int) -> int:
        self._clock[0] += 1
        return super().wait(item, queue)


@pytest.mark.parametrize("an_expert", [0.9, 50.0])
def test_the_hybrid_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, an_expert: float) -> None:
    """The link takes 6 seconds for a layer. A CPU with 0.9 for an expert takes 5.4 alone, and 2.7 for three experts,
    while the link has the other three; one with 50 does not help."""
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _device: None)
    monkeypatch.setattr(torch.cuda, "device", lambda _device: contextlib.nullcontext())
    files, _held = layers(tmp_path, 1)
    clock = [0.0]
    monkeypatch.setattr(calibrate, "now", lambda: clock[0])

    class Moe:
        def forward(self, tokens: int, choices: int, *_addresses: int) -> float:
            return an_expert * len(set(buffers.ids[: tokens * choices].tolist()) - {-1})

    buffers = Buffers(1000, HIDDEN, CHOICES, page_locked=False)
    buffers.out.zero_()
    cpu = OnCpu(SimpleNamespace(moe=Moe()), buffers, Threads(clock))

    def alone(_x: torch.Tensor, ids: torch.Tensor, _weights: torch.Tensor) -> None:
        clock[0] += an_expert * len(ids.unique())

    module = SimpleNamespace(config=SimpleNamespace(num_experts_per_tok=CHOICES), experts=alone)
    layer = install.Placed(module, 0, torch.device("cpu"), files[0])
    links = [Link(Slow(clock), Products(PlainOperators(), files, torch.device("cpu")))]
    part = StreamedLayer(files[0], {}, cpu)
    found = calibrate.measure_hybrid(PlainOperators(), links, layer, part, cpu, float(EXPERTS), ahead=1)
    if an_expert > EXPERTS:
        assert found is None
    else:
        assert found is not None
        assert (found.together, found.alone, found.threshold) == pytest.approx((3.0, 6.0, 32))
        assert found.costs.links == (1.0,)
