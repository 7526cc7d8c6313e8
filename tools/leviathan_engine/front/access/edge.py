"""The outermost layer: adds request ids, the access log, traces and CORS to every answer, including errors."""

import os
import sys
import time
from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .access_log import AccessLog
from .record import HEADER, begin, facts
from .span_exporter import Exporter
from .spans import spans

# Probes and scrapes arrive every few seconds, and are not requests of users.
QUIET = ("/health", "/ready", "/metrics")
METHODS = ("GET", "POST", "OPTIONS")
EXPOSED = ("x-request-id", "retry-after")
# Seconds for which a browser caches the answer to a preflight.
PREFLIGHT_SECONDS = 600


class Edge:
    """An ASGI application that wraps another."""

    def __init__(
        self, app: ASGIApp, log: AccessLog, origins: Sequence[str] = (), traces: Exporter | None = None
    ) -> None:
        """`origins` are the web origins whose pages may read the answers, `*`: all; `traces` exports spans."""
        self._app = cors(app, origins) if origins else app
        self._log = log
        self._traces = traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, adds its id to the answer, and logs it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = begin(scope)
        if self._traces is not None and not record.trace:
            record.trace = os.urandom(16).hex()

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), (HEADER, record.id.encode("ascii"))]}
            await send(message)

        try:
            await self._app(scope, receive, named)
        finally:
            if scope["path"] not in QUIET:
                seconds = time.monotonic() - record.came
                self._log.add(facts(record, scope, seconds))
                if self._traces is not None and record.sampled:
                    self._traces.add(spans(record, scope, seconds))


def cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Adds CORS to `app`: preflights need no API key, because browsers do not send one."""
    return CORSMiddleware(
        app,
        allow_origins=list(origins),
        allow_methods=list(METHODS),
        allow_headers=["*"],
        expose_headers=list(EXPOSED),
        max_age=PREFLIGHT_SECONDS,
        allow_private_network=True,  # an allowed page may be public, while this server is in a private network
    )


def write_stderr(text: str) -> None:
    """Writes a line of the log to stderr, without the lock of the logging module. Errors: OSError."""
    rest = text.encode("ascii")
    while rest:
        rest = rest[os.write(sys.stderr.fileno(), rest) :]
