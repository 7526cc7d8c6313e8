"""Log probabilities in the two formats of OpenAI's API."""

from collections.abc import Sequence

from ..generation.events import PromptToken, TokenLogprob
from ..generation.request import JsonObject

# JSON has no minus infinity; OpenAI writes this for an impossible token.
LEAST = -9999.0


def chat_logprobs(tokens: Sequence[TokenLogprob]) -> JsonObject:
    """Returns the `logprobs` of a chat's choice."""
    return {"content": [_entry(t) | {"top_logprobs": [_entry(o) for o in t.top]} for t in tokens], "refusal": None}


def completion_logprobs(tokens: Sequence[TokenLogprob], first: int) -> JsonObject:
    """Returns the `logprobs` of a completion's choice; `first` is the offset of its first token's text."""
    offsets = [first]
    for token in tokens[:-1]:
        offsets.append(offsets[-1] + len(token.text))
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [max(LEAST, token.logprob) for token in tokens],
        # Parts of a character have the same text: the most likely one is last here, so it is kept.
        "top_logprobs": [{o.text: max(LEAST, o.logprob) for o in reversed(token.top)} for token in tokens],
        "text_offset": offsets,
    }


def echo_logprobs(tokens: Sequence[PromptToken], most: int) -> JsonObject:
    """Returns the `logprobs` of an echoed prompt's tokens, with the `most` most likely ones; null for the first."""
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [None if token.logprob is None else max(LEAST, token.logprob) for token in tokens],
        "top_logprobs": [
            None
            if token.logprob is None
            else {text: max(LEAST, logprob) for _, text, logprob in reversed(token.top[:most])}
            for token in tokens
        ],
        "text_offset": [token.place for token in tokens],
    }


def prompt_logprobs(tokens: Sequence[PromptToken], most: int) -> list[JsonObject | None]:
    """Returns vLLM's `prompt_logprobs`: for each token null, or id → log probability, rank and text.

    The token itself comes first, then the `most` most likely ones.
    """
    return [None if token.logprob is None else _ranked(token, token.logprob, most) for token in tokens]


def _ranked(token: PromptToken, logprob: float, most: int) -> JsonObject:
    named = [(token.id, token.text, logprob, token.rank)]
    named += [(*one, rank) for rank, one in enumerate(token.top[:most], 1) if one[0] != token.id]
    return {str(i): {"logprob": max(LEAST, p), "rank": rank, "decoded_token": text} for i, text, p, rank in named}


def _entry(token: TokenLogprob) -> JsonObject:
    return {"token": token.text, "logprob": max(LEAST, token.logprob), "bytes": list(token.raw)}
