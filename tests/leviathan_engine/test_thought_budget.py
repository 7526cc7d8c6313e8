"""A thought that has used up its tokens is closed, and nothing else is changed."""

import pytest

from leviathan_engine.worker.sampling_options import SamplingOptions, sampling_options
from leviathan_engine.worker.thought_budget import ThoughtBudget

OPEN, CLOSE, END = 90, 91, (91, 10)


def run(chosen: list[int], budget: int | None, *, thinking: bool) -> list[int]:
    options = SamplingOptions(think_budget=budget, think_end=END, think_open=OPEN, think_close=CLOSE, thinking=thinking)
    follow = ThoughtBudget(options)
    return [follow.take(token) for token in chosen]


CASES = [
    ("closed by force", [1, 2, 3, 4, 5, 6], 2, True, [1, 2, *END, 5, 6]),
    ("at once", [1, 2, 3], 0, True, [*END, 3]),
    ("closed in time", [1, CLOSE, 3, 4, 5, 6], 2, True, [1, CLOSE, 3, 4, 5, 6]),
    ("closed with the last token", [1, 2, CLOSE, 3], 2, True, [1, 2, CLOSE, 3]),
    ("opened by the model", [OPEN, 1, 2, 3, 4], 1, False, [OPEN, 1, *END, 4]),
    ("no thought", [1, 2, 3, 4], 1, False, [1, 2, 3, 4]),
    ("no budget", [1, 2, 3, 4], None, True, [1, 2, 3, 4]),
]


@pytest.mark.parametrize(
    ("chosen", "budget", "thinking", "out"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_budget(chosen: list[int], budget: int | None, thinking: bool, out: list[int]) -> None:
    assert run(chosen, budget, thinking=thinking) == out


def test_options_of_a_mapping() -> None:
    options = sampling_options({"top_k": 3, "logit_bias": [[1, 2]], "think_end": [7]})
    assert (options.top_k, options.logit_bias, options.think_end) == (3, ((1, 2.0),), (7,))
    assert sampling_options({}) == SamplingOptions()
    with pytest.raises(TypeError, match="colour"):
        sampling_options({"colour": 1})
