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
from leviathan_engine.worker.sampling_options import SamplingOptions

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
    with pytest.raises(EngineError, match="not numbers"):
        Sampler(0.0, 1.0, None)(logits)


def option_shares(logits: Sequence[float], **options: object) -> list[float]:
    sampler = Sampler(1.0, 1.0, 1, SamplingOptions(**options))  # type: ignore[arg-type]
    return shares(sampler, logits)


SHARE_LOGITS = [math.log(share) for share in SHARES]


@pytest.mark.parametrize(
    ("options", "kept"),
    [({"top_k": 2}, 2), ({"top_k": 9}, 4), ({"min_p": 0.5}, 2), ({"min_p": 0.05}, 4), ({"top_k": 3, "min_p": 0.5}, 2)],
)
def test_top_k_and_min_p_keep_the_likeliest(options: dict[str, object], kept: int) -> None:
    """The reference: the shares of the kept tokens, by hand."""
    wanted = [share / sum(SHARES[:kept]) for share in SHARES[:kept]] + [0.0] * (len(SHARES) - kept)
    assert option_shares(SHARE_LOGITS, **options) == near(wanted)


@pytest.mark.parametrize("typical_p", [0.2, 0.5, 0.9])
def test_typical_p_keeps_what_is_nearest_to_the_entropy(typical_p: float) -> None:
    """The reference, in plain Python over a list."""
    entropy = -sum(p * math.log(p) for p in SHARES)
    order = sorted(range(4), key=lambda i: abs(-math.log(SHARES[i]) - entropy))
    kept, total = [], 0.0
    for place in order:
        if total < typical_p:
            kept.append(place)
            total += SHARES[place]
    wanted = [SHARES[i] / total if i in kept else 0.0 for i in range(4)]
    assert option_shares(SHARE_LOGITS, typical_p=typical_p) == near(wanted)


def penalised(logits: list[float], prompt: list[int], made: list[int], options: SamplingOptions) -> list[float]:
    """The reference: OpenAI's and CTRL's formulas, token by token."""
    out = []
    for token, logit in enumerate(logits):
        if token in prompt or token in made:
            logit = logit / options.repetition_penalty if logit > 0 else logit * options.repetition_penalty  # noqa: PLW2901
        count = made.count(token)
        out.append(logit - count * options.frequency_penalty - (count > 0) * options.presence_penalty)
    return out


@pytest.mark.parametrize("seed", range(12))
def test_penalties_are_those_of_the_formulas(seed: int) -> None:
    """Greedy over eight tokens for 40 steps: each choice is the largest of the plain formula's logits."""
    chance = torch.Generator().manual_seed(seed)
    options = SamplingOptions(presence_penalty=0.3, frequency_penalty=0.2, repetition_penalty=1.3)
    sampler = Sampler(0.0, 1.0, None, options, prompt=[1, 5])
    made: list[int] = []
    for _ in range(40):
        logits = torch.randn(8, generator=chance)
        wanted = penalised(logits.tolist(), [1, 5], made, options)
        made.append(sampler(logits))
        assert wanted[made[-1]] == pytest.approx(max(wanted), abs=1e-5)


def test_logit_bias_is_added() -> None:
    assert Sampler(0.0, 1.0, None, SamplingOptions(logit_bias=((3, 3.5),)))(torch.tensor(LOGITS)) == 3
    assert Sampler(0.0, 1.0, None, SamplingOptions(logit_bias=((0, -100.0),)))(torch.tensor(LOGITS)) == 1


def test_the_ends_are_kept_out_until_min_tokens() -> None:
    sampler = Sampler(0.0, 1.0, None, SamplingOptions(min_tokens=2), ends=[0])
    assert [sampler(torch.tensor(LOGITS)) for _ in range(3)] == [1, 1, 0]


def test_log_probabilities_are_the_models_own() -> None:
    """Before temperature, bias and penalties; the reference is math.log of the softmax."""
    options = SamplingOptions(logprobs=2, logit_bias=((3, 100.0),), presence_penalty=1.0)
    sampler = Sampler(0.0, 1.0, None, options)
    assert sampler(torch.tensor(LOGITS)) == 3
    total = sum(math.exp(logit) for logit in LOGITS)
    found = sampler.logprobs
    assert found is not None
    assert found.logprob == pytest.approx(LOGITS[3] - math.log(total), abs=1e-5)
    assert [token for token, _ in found.top] == [0, 1]
    assert [value for _, value in found.top] == pytest.approx(
        [LOGITS[0] - math.log(total), LOGITS[1] - math.log(total)]
    )
    plain = Sampler(0.0, 1.0, None)
    plain(torch.tensor(LOGITS))
    assert plain.logprobs is None


@pytest.mark.parametrize(
    "options",
    [
        {"repetition_penalty": 0.01, "frequency_penalty": 2.0, "presence_penalty": 2.0},
        {"repetition_penalty": 10.0, "frequency_penalty": -2.0, "top_k": 1, "min_p": 1.0, "typical_p": 1e-9},
        {"logit_bias": tuple((i, -100.0) for i in range(8)), "min_tokens": 5},
    ],
)
@pytest.mark.parametrize("top_p", [1e-6, 1.0])
@pytest.mark.parametrize("temperature", [1e-6, 2.0])
def test_the_extremes_of_all_fields_leave_something_to_draw(
    options: dict[str, object], top_p: float, temperature: float
) -> None:
    """A sampler that fails would end the engine for everybody: these are the bounds that the front lets through."""
    sampler = Sampler(temperature, top_p, 1, SamplingOptions(**options), prompt=[0, 1], ends=[2])  # type: ignore[arg-type]
    chance = torch.Generator().manual_seed(1)
    drawn = [sampler(30 * torch.randn(8, generator=chance)) for _ in range(50)]
    assert set(drawn) <= set(range(8))


def test_a_bias_where_torch_makes_half_precision_numbers() -> None:
    """As in the engine, whose loader sets the type of new tensors."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        options = SamplingOptions(logit_bias=((3, 100.0),), presence_penalty=1.0, repetition_penalty=2.0, min_tokens=1)
        sampler = Sampler(0.5, 0.9, 1, options, prompt=[0], ends=[1])
        assert sampler(torch.tensor(LOGITS, dtype=torch.float32)) == 3
    finally:
        torch.set_default_dtype(before)
