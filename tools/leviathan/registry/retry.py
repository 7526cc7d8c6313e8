"""How long to wait before the next attempt."""

import email.utils
import random
import time
from dataclasses import dataclass

#: Statuses that may pass by themselves: request time-out, too many requests, and the server's own troubles.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Backoff:
    """Exponential waiting with full jitter: attempt n waits between half and all of min(cap, base · 2ⁿ) seconds."""

    base_s: float = 0.5
    cap_s: float = 30.0

    def delay(self, attempt: int, retry_after: str | None = None, *, dice: float | None = None) -> float:
        """Seconds before attempt `attempt` + 1 (the first is 0).

        Arguments: `retry_after`, the header (seconds or a date), is honoured up to ten minutes and gets jitter on top,
        so that many clients do not return at once; `dice` is a number from 0 to 1 instead of a random one.
        """
        dice = random.random() if dice is None else dice
        delay = min(self.cap_s, self.base_s * 2.0**attempt) * (0.5 + dice / 2)
        asked = parse_retry_after(retry_after)
        return delay if asked is None else min(asked, 600.0) + dice * min(delay, 1.0)


def parse_retry_after(value: str | None, now: float | None = None) -> float | None:
    """Seconds that a Retry-After header asks for, or None when there is none that makes sense (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        then = email.utils.parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError):
        return None
    return max(0.0, then - (time.time() if now is None else now))
