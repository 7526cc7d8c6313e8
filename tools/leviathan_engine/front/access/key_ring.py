"""Identifies API keys in constant time, and enforces the limits of each key."""

import hmac
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from starlette.types import Scope

from leviathan_engine.front.api_error import ApiError

from .api_keys import ApiKey
from .rate import Bucket

# Minimum seconds in a retry-after header.
LEAST_WAIT = 1


class _Use:
    """What a key has used: its token buckets and its current requests."""

    def __init__(self, key: ApiKey, clock: Callable[[], float]) -> None:
        self.requests = Bucket(key.requests, 60, clock) if key.requests else None
        self.tokens = Bucket(key.tokens, 60, clock) if key.tokens else None
        self.running = 0


class KeyRing:
    """The keys that the front accepts; without keys, every request is accepted."""

    def __init__(self, keys: Sequence[ApiKey] = (), clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds."""
        self._clock = clock
        self._keys: tuple[ApiKey, ...] = ()
        self._uses: dict[ApiKey, _Use] = {}
        self.replace(keys)

    def replace(self, keys: Sequence[ApiKey]) -> None:
        """Replaces the keys; unchanged keys keep their use."""
        self._keys = tuple(keys)
        self._uses = {key: self._uses.get(key) or _Use(key, self._clock) for key in self._keys}

    def identify(self, scope: Scope) -> ApiKey | None:
        """Returns the key of a request, None if no key is needed.

        Reads `Authorization: Bearer KEY` (the scheme is case-insensitive, RFC 9110 section 11.1) or `x-api-key`.
        Errors: ApiError 401.
        """
        if not self._keys:
            return None
        found: ApiKey | None = None
        for given in offered(scope):
            for key in self._keys:  # compares all of them, so that the time does not reveal which one matched
                if hmac.compare_digest(given, key.secret) and found is None:
                    found = key
        if found is None:
            raise ApiError(
                401,
                "the API key is missing or wrong: send Authorization: Bearer KEY, or x-api-key: KEY",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )
        return found

    @contextmanager
    def admitted(self, key: ApiKey | None) -> Iterator[None]:
        """Counts a request of `key` while the context is open. Errors: ApiError 429 above a limit of the key."""
        use = self._uses.get(key) if key is not None else None
        if key is None or use is None:
            yield
            return
        if key.parallel is not None and use.running >= key.parallel:
            raise _limited(key, f"{key.parallel} concurrent requests", LEAST_WAIT)
        if use.tokens is not None and (wait := use.tokens.wait(1)) > 0:
            raise _limited(key, f"{key.tokens} tokens per minute", wait)
        if use.requests is not None and not use.requests.take(1):
            raise _limited(key, f"{key.requests} requests per minute", use.requests.wait(1))
        use.running += 1
        try:
            yield
        finally:
            use.running -= 1

    def spend(self, key: ApiKey | None, tokens: int) -> None:
        """Counts `tokens` of a prompt and its answer towards the key's rate; called when the answer has ended."""
        use = self._uses.get(key) if key is not None else None
        if use is not None and use.tokens is not None:
            use.tokens.spend(tokens)


def offered(scope: Scope) -> list[bytes]:
    """Returns the keys in a request's headers."""
    given = []
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, rest = value.partition(b" ")
            if scheme.lower() == b"bearer":
                given.append(rest.strip(b" "))
        elif name == b"x-api-key":
            given.append(value.strip(b" "))
    return given


def _limited(key: ApiKey, limit: str, wait: float) -> ApiError:
    return ApiError(
        429,
        f"the API key {key.name!r} is limited to {limit}: try again later",
        kind="rate_limit_error",
        code="rate_limit_exceeded",
        headers={"retry-after": str(max(LEAST_WAIT, math.ceil(wait)))},
    )
