"""`best_of`: of the answers to a prompt those whose tokens are the likeliest."""

from collections.abc import Sequence
from dataclasses import replace

from .events import Choice
from .request import GenerationRequest


def best(request: GenerationRequest, choices: Sequence[Choice]) -> list[Choice]:
    """The `n` choices of each prompt's, the best first; all choices if only `n` were drawn."""
    if request.drawn == request.n:
        return list(choices)
    groups = [choices[first : first + request.drawn] for first in range(0, len(choices), request.drawn)]
    ranked = [choice for group in groups for choice in sorted(group, key=mean, reverse=True)[: request.n]]
    kept = request.sampling.logprobs is not None
    return [replace(choice, index=index, tokens=choice.tokens if kept else []) for index, choice in enumerate(ranked)]


def mean(choice: Choice) -> float:
    """The mean log probability of a choice's tokens; minus infinity where it has none."""
    tokens = choice.tokens
    return sum(token.logprob for token in tokens) / len(tokens) if tokens else float("-inf")
