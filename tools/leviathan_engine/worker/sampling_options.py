"""The sampling options of a job in addition to temperature, top_p and seed: its mapping `sampling`.

Names and meanings are from vLLM (`SamplingParams`) and OpenAI. The defaults change nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SamplingOptions:
    """`top_k` 0 keeps all tokens; `min_p` those with at least this share of the most likely one; `typical_p` 1 all.

    `presence_penalty` and `frequency_penalty` count generated tokens, `repetition_penalty` also those of the prompt.
    `logit_bias` has pairs of a token id and the number that is added to its logit. The first `min_tokens` tokens cannot
    be tokens that end the answer. `logprobs` is the number of most likely tokens to report with each token; None: no
    log probabilities at all; `prompt_logprobs` is the same for the tokens of the prompt. With `end_logprob` the token
    that ends the answer is reported, too. `think_budget` is the maximum number of tokens of a thought, None: no limit;
    `think_end` are the tokens that then close it, `think_open` and `think_close` the ids of the tags, and `thinking` is
    true if the prompt opens the thought. `grammar`, in llguidance's Lark or JSON, constrains the answer: from its
    beginning, after the thought, or after the token `grammar_after`; before that token, `grammar_bans` are forbidden.
    """

    top_k: int = 0
    min_p: float = 0.0
    typical_p: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    min_tokens: int = 0
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    end_logprob: bool = False
    think_budget: int | None = None
    think_end: tuple[int, ...] = ()
    think_open: int | None = None
    think_close: int | None = None
    thinking: bool = False
    grammar: str | None = None
    grammar_after: int | None = None
    grammar_bans: tuple[int, ...] = ()


def sampling_options(mapping: Mapping[str, Any]) -> SamplingOptions:
    """Returns the options of a job's mapping. Errors: TypeError for an unknown name."""
    given = dict(mapping)
    if "logit_bias" in given:
        given["logit_bias"] = tuple((int(token), float(bias)) for token, bias in given["logit_bias"])
    for name in ("think_end", "grammar_bans"):
        if name in given:
            given[name] = tuple(given[name])
    return SamplingOptions(**given)
