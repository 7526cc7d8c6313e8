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

# nginx's status for a client that disconnected before the answer began; used in metrics and logs.
BEFORE_ANSWER = 499


class Host(Protocol):
    """The front, as its endpoints see it. `created` is the time of its start, in seconds since 1970."""

    keys: KeyRing
    metrics: Metrics
    status: Status
    bodies: Bodies
    unsent: Unsent
    created: int

    def authorize(self, scope: Scope) -> ApiKey | None:
        """Returns the request's API key. Errors: ApiError 401."""

    def body_limit(self) -> BodyLimit:
        """Returns the size limit of a body."""

    def served(self) -> Served | None:
        """Returns the model, None until it is known."""

    def service(self) -> Awaitable[Service]:
        """Returns the tokenizer, the model and the rest. Errors: ApiError 503 while the model loads."""

    def generation(self) -> AbstractContextManager[None]:
        """Registers a request that may be ended when the server stops, while the context is open."""
