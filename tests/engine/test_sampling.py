"""Temperature, top_p and seed do what they say: the drawn tokens' shares are those of the formula, by torch itself."""

import math
import os
from collections import Counter
from collections.abc import Sequence

import pytest

if os.environ.get("LEVIATHAN_ENGINE") != "required":
    pytest.importorskip("torch")

import torch

from leviathan_engine.errors import EngineError
from leviathan_engine.worker.sampling import Sampler

DRAWS = 8000
LOGITS = (2.0, 1.0, 0.0, -1.0)
SHARES = (0.5, 0.3, 0.15, 0.05)


def shares(sampler: Sampler, logits: Sequence[float]) -> list[float]:
    """The share of every token in DRAWS draws."""
    given = torch.tensor(logits)
    count = Counter(sampler(given) for _ in range(DRAWS))
    return [count[token] / DRAWS for token in range(len(logits))]


def near(wanted: Sequence[float]) -> list[object]:
    """Within five standard deviations of a share of DRAWS draws."""
    return [pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / DRAWS)) for p in wanted]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_temperature_divides_the_logits(temperature: float) -> None:
    weights = [math.exp(logit / temperature) for logit in LOGITS]
    assert shares(Sampler(temperature, 1.0, 1), LOGITS) == near([w / sum(weights) for w in weights])


@pytest.mark.parametrize(("top_p", "kept"), [(0.99, 4), (0.9, 3), (0.7, 2), (0.55, 2), (0.45, 1), (0.01, 1)])
def test_top_p_keeps_the_fewest_tokens_that_reach_it(top_p: float, kept: int) -> None:
    logits = [math.log(share) for share in reversed(SHARES)]
    wanted = [share / sum(SHARES[:kept]) for share in SHARES[:kept]] + [0.0] * (len(SHARES) - kept)
    assert shares(Sampler(1.0, top_p, 1), logits) == near(wanted[::-1])


def test_a_seed_repeats_its_draws_and_none_does_not() -> None:
    logits = torch.zeros(1000)

    def draws(seed: int | None) -> list[int]:
        sampler = Sampler(1.0, 0.95, seed)
        return [sampler(logits) for _ in range(20)]

    assert draws(5) == draws(5) != draws(6)
    assert draws(None) != draws(None)
    assert len(draws(-(1 << 63))) == len(draws((1 << 63) - 1)) == 20


@pytest.mark.parametrize(
    ("temperature", "top_p"),
    [(0.0, 1.0), (1.0, 0.0), (5e-324, 1.0), (1e-50, 0.5), (1e-38, 1.0), (1.0, 5e-324), (2.0, 1e-50), (1e-7, 1e-7)],
)
@pytest.mark.parametrize("spread", [1e-3, 1.0, 1e4])
def test_the_least_values_take_the_likeliest_token(temperature: float, top_p: float, spread: float) -> None:
    """DeepSeek-V3's vocabulary. As 32-bit floats some of these are 0: nothing would be left to draw from."""
    logits = torch.randn(129_280, generator=torch.Generator().manual_seed(3)) * spread
    sampler = Sampler(temperature, top_p, 1)
    assert {sampler(logits) for _ in range(3)} == {int(logits.argmax())}


@pytest.mark.parametrize(("temperature", "top_p"), [(1e-6, 1.0), (1.0, 1e-6), (2.0, 1.0), (1e-3, 1.0)])
@pytest.mark.parametrize("spread", [0.0, 1.0, 1e4])
def test_beside_them_every_value_draws_a_token(temperature: float, top_p: float, spread: float) -> None:
    logits = torch.randn(129_280, generator=torch.Generator().manual_seed(3)) * spread
    assert 0 <= Sampler(temperature, top_p, 1)(logits) < len(logits)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_none_are_an_error(value: float) -> None:
    logits = torch.tensor([0.0, 1.0, 2.0])
    assert Sampler(0.0, 1.0, None)(logits) == 2
    logits[1] = value
    with pytest.raises(EngineError, match="computed no numbers"):
        Sampler(0.0, 1.0, None)(logits)
