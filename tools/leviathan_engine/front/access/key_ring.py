"""Tells API keys apart without leaking time, and holds each to its own limits."""

import hmac
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from starlette.types import Scope

from leviathan_engine.front.api_error import ApiError

from .api_keys import ApiKey
from .rate import Bucket

# Seconds, in a retry-after header.
LEAST_WAIT = 1


class _Use:
    """What a key has used: its buckets and the requests under way."""

    def __init__(self, key: ApiKey, clock: Callable[[], float]) -> None:
        self.requests = Bucket(key.requests, 60, clock) if key.requests else None
        self.tokens = Bucket(key.tokens, 60, clock) if key.tokens else None
        self.running = 0


class KeyRing:
    """The keys that the front accepts; without any, everybody is let in."""

    def __init__(self, keys: Sequence[ApiKey] = (), clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._keys: tuple[ApiKey, ...] = ()
        self._uses: dict[ApiKey, _Use] = {}
        self.replace(keys)

    def replace(self, keys: Sequence[ApiKey]) -> None:
        """Takes new keys; a key that stays as it was keeps what it has used."""
        self._keys = tuple(keys)
        self._uses = {key: self._uses.get(key) or _Use(key, self._clock) for key in self._keys}

    def identify(self, scope: Scope) -> ApiKey | None:
        """The key that a request carries, None where none is needed.

        It comes from `Authorization: Bearer KEY` (the scheme in any case, RFC 9110 section 11.1) or from `x-api-key`.
        Errors: ApiError 401.
        """
        if not self._keys:
            return None
        found: ApiKey | None = None
        for given in offered(scope):
            for key in self._keys:  # all of them, so that the time says nothing of which one matched
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
        """Around a request of `key`. Errors: ApiError 429 with retry-after when one of the key's limits is reached."""
        use = self._uses.get(key) if key is not None else None
        if key is None or use is None:
            yield
            return
        if key.parallel is not None and use.running >= key.parallel:
            raise _limited(key, f"{key.parallel} requests at once", LEAST_WAIT)
        if use.tokens is not None and (wait := use.tokens.wait(1)) > 0:
            raise _limited(key, f"{key.tokens} tokens a minute", wait)
        if use.requests is not None and not use.requests.take(1):
            raise _limited(key, f"{key.requests} requests a minute", use.requests.wait(1))
        use.running += 1
        try:
            yield
        finally:
            use.running -= 1

    def spend(self, key: ApiKey | None, tokens: int) -> None:
        """Counts `tokens` of a prompt and its answer towards the key's rate; known only once the answer ends."""
        use = self._uses.get(key) if key is not None else None
        if use is not None and use.tokens is not None:
            use.tokens.spend(tokens)


def offered(scope: Scope) -> list[bytes]:
    """The keys that a request's headers carry."""
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
        f"the key {key.name!r} is limited to {limit}: try again later",
        kind="rate_limit_error",
        code="rate_limit_exceeded",
        headers={"retry-after": str(max(LEAST_WAIT, math.ceil(wait)))},
    )
