"""Measures the times of one generation, for metrics, the access log and llama.cpp's `timings`."""

import time
from collections.abc import Callable
from typing import Any

from .access.record import Record
from .metrics import Finished, Metrics


class Timing:
    """The times of one generation: its request, its turn, its first and its last token."""

    def __init__(self, record: Record, model: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`record` is the request's; `clock` returns seconds."""
        self._record = record
        self._model = model
        self._clock = clock
        self._came = record.came
        self._turn: float | None = None
        self._first: float | None = None
        self._last = 0.0
        self.prompt = self.cached = self.tokens = 0

    def turn(self, prompt: int) -> None:
        """Notes the start of the turn, with a prompt of `prompt` tokens."""
        self._turn = self._clock()
        self.prompt = self._record.prompt_tokens = prompt
        self._record.waited = self._turn - self._came

    def since_turn(self) -> float:
        """Returns the milliseconds since the turn began."""
        return round(1e3 * (self._clock() - (self._turn or self._came)), 3)

    def reuse(self, cached: int) -> None:
        """Notes that `cached` tokens of the prompt are in the prefix cache."""
        self.cached = self._record.cached_tokens = cached

    def token(self, metrics: Metrics) -> None:
        """Notes a token."""
        now = self._clock()
        self.tokens += 1
        if self._first is None:
            self._first = now
            self._record.first_token = now - (self._turn or self._came)
        else:
            metrics.token(self._model, now - self._last)
        self._last = now

    def end(self, metrics: Metrics, reason: str) -> None:
        """Notes the end of the generation; `reason` is "" if it was cancelled."""
        self._record.generated_tokens = self.tokens
        self._record.finish = reason or "abort"
        if self._first is not None:
            self._record.decoding = self._last - self._first
        turn = self._turn or self._came
        metrics.finished(
            Finished(
                model=self._model,
                prompt=self.prompt,
                cached=self.cached,
                generated=self.tokens,
                waited=turn - self._came,
                first=None if self._first is None else self._first - turn,
                decoding=self._last - self._first if self._first is not None else 0.0,
                whole=self._clock() - self._came,
                reason=reason or "abort",
            )
        )

    def timings(self) -> dict[str, Any]:
        """Returns llama.cpp's `timings` (tools/server/README.md): counts, milliseconds, and rates of prompt and answer.

        `queue_ms` is our addition: the time in the queue.
        """
        turn = self._turn or self._came
        first = self._first if self._first is not None else self._clock()
        read, decoding = self.prompt - self.cached, self._last - first if self._first is not None else 0.0
        return {
            "cache_n": self.cached,
            "prompt_n": read,
            **_rates("prompt", read, first - turn),
            "predicted_n": self.tokens,
            # The last step of the prompt gives the first token, so the rate only counts the later ones.
            **_rates("predicted", max(0, self.tokens - 1), decoding),
            "queue_ms": round(1e3 * (turn - self._came), 3),
        }


def _rates(name: str, tokens: int, seconds: float) -> dict[str, float]:
    return {
        f"{name}_ms": round(1e3 * seconds, 3),
        f"{name}_per_token_ms": round(1e3 * seconds / tokens, 3) if tokens else 0.0,
        f"{name}_per_second": round(tokens / seconds, 3) if seconds > 0 else 0.0,
    }
