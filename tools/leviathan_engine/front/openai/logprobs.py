"""Log probabilities in the two formats of OpenAI's API."""

from collections.abc import Sequence

from ..generation.events import TokenLogprob
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


def _entry(token: TokenLogprob) -> JsonObject:
    return {"token": token.text, "logprob": max(LEAST, token.logprob), "bytes": list(token.raw)}
