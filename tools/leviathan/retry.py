"""Which HTTP statuses are transient, and how long a server asks to wait."""

import email.utils
import time

#: Request timeout, too early, too many requests, and errors of the server.
TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


def parse_retry_after(value: str | None, now: float | None = None) -> float | None:
    """The seconds in a Retry-After header, or None if it is missing or invalid (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        then = email.utils.parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError):
        return None
    return max(0.0, then - (time.time() if now is None else now))
