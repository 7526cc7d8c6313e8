"""Several GPUs' links share each layer's experts, by their measured rates; on the CPU, against float64."""

import contextlib
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from expert_files import CHOICES, EXPERTS, HIDDEN, LIMIT, Counting, distance, given, layers, placed_layer

from leviathan_engine.gguf.types import GgmlType
from leviathan_operators import install_experts as install
from leviathan_operators.experts.products import Products
from leviathan_operators.experts.streamed import SUM_ROWS, Link, StreamedExperts, StreamedLayer, turns
from leviathan_operators.reference.expert_layer import experts
from leviathan_operators.reference.operators import PlainOperators, PlainRing

#: Tensors never say that they are there, so it stands for another GPU than the tokens'.
ELSEWHERE = torch.device("cpu", 1)


@pytest.mark.parametrize("tokens_on", [0, 1])
def test_two_links_share_every_layer(tmp_path: Path, tokens_on: int) -> None:
    """Each expert comes over one of them, whichever GPU the tokens are on, and resident ones over none."""
    files, held = layers(tmp_path, 3)
    here, all_here = (
        {n: tuple(w[n].data_ptr() for w in (held[layer].gate, held[layer].up, held[layer].down)) for n in numbers}
        for layer, numbers in ((1, (0, 2)), (2, range(EXPERTS)))
    )
    rings = [Counting(), Counting()]
    rings[1 - tokens_on].device = ELSEWHERE
    links = [Link(ring, Products(PlainOperators(), files, ring.device)) for ring in rings]
    parts = [StreamedLayer(files[0]), StreamedLayer(files[2], all_here), StreamedLayer(files[1], here)]
    streamed = StreamedExperts(PlainOperators(), links, parts)
    for chunk in range(2):
        for position, layer in enumerate((0, 2, 1)):
            x, ids, weights = given(SUM_ROWS + 40, chunk * 10 + position)
            exact = experts(held[layer], x, ids, weights, torch.float64)
            assert distance(streamed.layer(position, x, ids, weights), exact) < LIMIT
    assert [ring.begun for ring in rings] == [[[3, 0], [2]] * 2] * 2, "the last layer is read when it is computed"
    assert all(ring.open == set() for ring in rings)


@pytest.mark.parametrize(
    ("shares", "order"),
    [((1,), (0,)), ((1, 1), (0, 1)), ((2, 1), (0, 1, 0)), ((6, 2), (0, 0, 1, 0, 0, 0, 1, 0)), ((8, 0), (0,) * 8)],
)
def test_links_take_turns_by_their_shares(shares: tuple[int, ...], order: tuple[int, ...]) -> None:
    assert turns(shares) == order


@pytest.mark.parametrize(
    ("seconds", "shares"),
    [
        ((0.14, 0.14), [4, 4]),
        ((0.14, 0.5), [6, 2]),
        ((0.14, 3.0), [8, 0]),
        ((0.1,) * 3, [4] * 3),
        ((1,) * 16, [4] * 16),
    ],
)
def test_a_slow_link_gets_less(seconds: tuple[float, ...], shares: list[int]) -> None:
    """A card with four lanes of sixteen gets a quarter, and one behind a slow bridge nothing."""
    assert install.shares_of(seconds) == shares


@pytest.mark.parametrize("shares", [(3, 1), (0, 2), (2, 0)])
def test_shares_of_two_links(tmp_path: Path, shares: tuple[int, int]) -> None:
    """Also where the tokens' own GPU gets nothing."""
    files, held = layers(tmp_path, 3)
    rings = [Counting(), Counting()]
    rings[1].device = ELSEWHERE
    links = [Link(r, Products(PlainOperators(), files, r.device), n) for r, n in zip(rings, shares, strict=True)]
    streamed = StreamedExperts(PlainOperators(), links, [StreamedLayer(each) for each in files])
    for position in range(3):
        x, ids, weights = given(50, position)
        exact = experts(held[position], x, ids, weights, torch.float64)
        assert distance(streamed.layer(position, x, ids, weights), exact) < LIMIT
    numbers = [len([n for n in range(EXPERTS) if turns(shares)[n % sum(shares)] == link]) for link in range(2)]
    assert [ring.begun for ring in rings] == [[[number] * 2, [number]] for number in numbers]
    assert all(ring.open == set() for ring in rings)


def test_links_without_a_share_are_refused() -> None:
    with pytest.raises(ValueError, match="a share above 0"):
        StreamedExperts(PlainOperators(), [Link(PlainRing(), None, 0)], [])  # type: ignore[arg-type]


class Slow(PlainRing):
    """A link that takes a while for each expert."""

    def __init__(self, seconds: float, clock: list[float]) -> None:
        super().__init__()
        self.seconds, self.waited, self.clock = seconds, 0, clock

    def wait(self, item: int, queue: int) -> int:
        self.clock[0] += self.seconds
        self.waited += 1
        return super().wait(item, queue)


def test_the_shares_and_the_threshold_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that is three times as slow gets two of eight; every expert comes over one of the links."""
    for name, stand_in in (
        ("device", lambda _device: contextlib.nullcontext()),
        ("synchronize", lambda _device: None),
        ("current_stream", lambda _device: SimpleNamespace(cuda_stream=0)),
    ):
        monkeypatch.setattr(torch.cuda, name, stand_in)
    files, _held = layers(tmp_path, 3)
    clock = [0.0]
    monkeypatch.setattr(install.calibrate, "now", lambda: clock[0])
    asked: list[int] = []

    class Module:
        config = SimpleNamespace(num_experts_per_tok=CHOICES)

        def experts(self, x: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor) -> None:
            assert x.shape == (install.calibrate.TRIAL_TOKENS, HIDDEN)
            assert ids.shape == weights.shape == (len(x), CHOICES)
            asked.append(len(x))
            clock[0] += 0.5

    placed = install.Placed(Module(), 1, torch.device("cpu"), files[1])
    quick, slow = Slow(0.02, clock), Slow(0.06, clock)
    shares, rates = install._measure([quick, slow], placed, range(EXPERTS), cpu=True)  # type: ignore[list-item]
    assert shares == [6, 2]
    assert asked == [install.calibrate.TRIAL_TOKENS] * 2
    # Twice alone, then twice together: expert 2 of each row of eight is the slow link's.
    assert (quick.waited, slow.waited) == (2 * EXPERTS + 2 * (EXPERTS - 1), 2 * EXPERTS + 2)
    assert rates is not None
    assert (rates.streamed, rates.cpu) == pytest.approx((5 * 0.02 + 0.06, 0.5))
    # With a configured threshold the CPU is not asked; a single link is not measured then.
    assert install._measure([quick, slow], placed, range(EXPERTS), cpu=False) == ([6, 2], None)  # type: ignore[list-item]
    alone = Slow(0.02, clock)
    assert install._measure([alone], placed, [], cpu=False) == ([1], None)  # type: ignore[list-item]
    assert alone.waited == 0
    assert len(asked) == 2


def test_a_ring_has_room_for_every_gpus_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers of Q6_K on the other GPU come over this one's link, too."""
    made: list[tuple[str, int]] = []
    monkeypatch.setattr(torch.cuda, "device", lambda _device: contextlib.nullcontext())
    monkeypatch.setattr(install, "Ring", lambda _l, device, _s, size, _t: made.append((str(device), size)) or Ring())
    monkeypatch.setattr(install, "_resident", lambda *_: {})

    class Ring:
        device = torch.device("cpu")

    small, large = placed_layer(3, GgmlType.Q4_K), placed_layer(4, GgmlType.Q6_K)
    assert small.files.slot_bytes < large.files.slot_bytes
    options, sizes = install.Options(None, {}, None), [small.files, large.files]
    assert install._on_device(PlainOperators(), [small], sizes, 2, options, {}, print) is not None
    assert made == [("cpu", large.files.slot_bytes)]
