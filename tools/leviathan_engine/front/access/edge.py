"""The outermost layer of the front: request ids, the access log, and CORS around every answer, errors included."""

import os
import sys
import time
from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .access_log import AccessLog
from .record import HEADER, begin, facts

# Probes and scrapes come every few seconds and say nothing about users.
QUIET = ("/health", "/ready", "/metrics")
METHODS = ("GET", "POST", "OPTIONS")
EXPOSED = ("x-request-id", "retry-after")
# Seconds for which a browser keeps the answer to a preflight.
PREFLIGHT_SECONDS = 600


class Edge:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, log: AccessLog, origins: Sequence[str] = ()) -> None:
        """`origins` are the web origins whose pages may read the answers, `*` every one."""
        self._app = cors(app, origins) if origins else app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, adds its id to the answer, and logs it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = begin(scope)

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), (HEADER, record.id.encode("ascii"))]}
            await send(message)

        try:
            await self._app(scope, receive, named)
        finally:
            if scope["path"] not in QUIET:
                self._log.add(facts(record, scope, time.monotonic() - record.came))


def cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """`app` with CORS: a preflight is answered without a key, as browsers send none with it."""
    return CORSMiddleware(
        app,
        allow_origins=list(origins),
        allow_methods=list(METHODS),
        allow_headers=["*"],
        expose_headers=list(EXPOSED),
        max_age=PREFLIGHT_SECONDS,
        allow_private_network=True,  # an allowed page may be a public one, and this server is in a private network
    )


def write_stderr(text: str) -> None:
    """Writes a line of the log to stderr, without the lock that the loop's own messages take. Errors: OSError."""
    rest = text.encode("ascii")
    while rest:
        rest = rest[os.write(sys.stderr.fileno(), rest) :]
