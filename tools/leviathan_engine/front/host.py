"""What the endpoints need of the front."""

from collections.abc import Awaitable
from contextlib import AbstractContextManager
from typing import Protocol

from starlette.types import Scope

from .access.api_keys import ApiKey
from .access.key_ring import KeyRing
from .bodies import Bodies
from .body_limit import BodyLimit
from .generation.run import Service
from .metrics import Metrics
from .outbox import Unsent
from .served import Served
from .status import Status

# nginx's number for a client that left, and so what is counted as long as no answer has begun.
BEFORE_ANSWER = 499


class Host(Protocol):
    """The front, as its endpoints see it. `created` is when it began, in seconds since 1970."""

    keys: KeyRing
    metrics: Metrics
    status: Status
    bodies: Bodies
    unsent: Unsent
    created: int

    def authorize(self, scope: Scope) -> ApiKey | None:
        """The request's key. Errors: ApiError 401."""

    def body_limit(self) -> BodyLimit:
        """How large a body may be."""

    def served(self) -> Served | None:
        """The model; None before it is known."""

    def service(self) -> Awaitable[Service]:
        """The tokenizer, the model and the rest. Errors: ApiError 503 while the model loads."""

    def generation(self) -> AbstractContextManager[None]:
        """Around a request that the end of the server may cut off."""
