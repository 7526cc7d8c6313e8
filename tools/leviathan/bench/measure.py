"""One streamed chat, timed: from the request to the first token, between tokens, and what the server counted.

Source: OpenAI API reference, "The chat completion chunk object"; `stream_options.include_usage` brings the counts.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from leviathan.smoke.endpoint import Endpoint
from leviathan.smoke.result import Wrong

#: Words of one token in most vocabularies.
WORDS = ("time", "year", "people", "way", "day", "man", "thing", "life", "child", "world", "school", "state", "hand")


@dataclass(frozen=True)
class Sample:
    """One answer, times in seconds: `first` from the request to the first token, `gaps` between pieces, `whole` to the
    end; tokens of the prompt, of them found in the server's `cached` prefix, and of the answer."""

    first: float
    gaps: tuple[float, ...]
    whole: float
    prompt: int
    cached: int
    tokens: int

    @property
    def rate(self) -> float:
        """Tokens a second after the first one; 0 where there is only one."""
        spent = self.whole - self.first
        return (self.tokens - 1) / spent if self.tokens > 1 and spent > 0 else 0.0


def prompt(words: int, dice: random.Random) -> str:
    """A text of about so many words that no earlier one begins with, so that no prefix of it is cached."""
    return " ".join([f"{dice.getrandbits(48):012x}", *(dice.choice(WORDS) for _ in range(max(1, words - 1)))])


def ask(endpoint: Endpoint, model: str, text: str, tokens: int, more: Mapping[str, Any]) -> Sample:
    """Ask once for `tokens` tokens, with `more` keys in the body.

    An answer without text, of tokens that have none, counts as one piece that comes at its end.
    Errors: Wrong when the answer is not a stream of a chat, or has neither text nor a count of tokens.
    """
    body = {
        **more,
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    times: list[float] = []
    usage: dict[str, Any] = {}
    ended = 0.0
    for event in endpoint.stream("/v1/chat/completions", body):
        ended = event.after_s
        if event.data == "[DONE]":
            break
        chunk = _chunk(event.data)
        try:
            usage = chunk.get("usage") or usage
            choices = chunk.get("choices") or []
            delta = (choices[0].get("delta") or {}) if choices else {}
            said = delta.get("content") or delta.get("reasoning_content")
        except (AttributeError, IndexError, KeyError, TypeError):
            raise Wrong(f"an event that is not a chunk: {event.data[:160]}") from None
        if said:
            times.append(event.after_s)
    counted = usage.get("completion_tokens")
    if not times and not counted:
        raise Wrong("an answer with neither text nor tokens")
    times = times or [ended]
    details = usage.get("prompt_tokens_details") or {}
    gaps = tuple(later - earlier for earlier, later in pairwise(times))
    return Sample(
        times[0],
        gaps,
        times[-1] if len(times) > 1 else ended,
        int(usage.get("prompt_tokens") or 0),
        int(details.get("cached_tokens") or 0),
        counted if isinstance(counted, int) and counted > 0 else len(times),
    )


def _chunk(data: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict) or "error" in found:
        raise Wrong(f"an event that is not a chunk: {data[:160]}")
    return found
