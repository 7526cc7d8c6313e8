"""How tokens are chosen beyond temperature, top_p and seed: what a job's `sampling` mapping says.

The names and meanings are vLLM's (`SamplingParams`) and OpenAI's. Every default changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class SamplingOptions:
    """`top_k` 0 keeps all tokens; `min_p` those at least that share of the likeliest; `typical_p` 1 all.

    `presence_penalty` and `frequency_penalty` count generated tokens, `repetition_penalty` those of the prompt too.
    `logit_bias` is pairs of token id and what is added to its logit. Tokens that end the answer are out of the question
    for the first `min_tokens`. `logprobs` is how many likeliest tokens are named with each token, None: none, and no
    log probability. `think_budget` is how many tokens a thought may have, None: any number; `think_end` are the tokens
    that are put at its end then, `think_open` and `think_close` the tags' ids, and `thinking` is true where the prompt
    opens the thought. `grammar` is what the answer must follow, in llguidance's Lark or JSON: from the beginning, or
    after the thought, or from the token `grammar_after` on, before which `grammar_bans` may not come.
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
    think_budget: int | None = None
    think_end: tuple[int, ...] = ()
    think_open: int | None = None
    think_close: int | None = None
    thinking: bool = False
    grammar: str | None = None
    grammar_after: int | None = None
    grammar_bans: tuple[int, ...] = ()


def sampling_options(mapping: Mapping[str, Any]) -> SamplingOptions:
    """The options of a job's mapping. Errors: TypeError for a name that is not known."""
    given = dict(mapping)
    if "logit_bias" in given:
        given["logit_bias"] = tuple((int(token), float(bias)) for token, bias in given["logit_bias"])
    for name in ("think_end", "grammar_bans"):
        if name in given:
            given[name] = tuple(given[name])
    return SamplingOptions(**given)
