"""What the smoke tests share: the real front end, and an endpoint on loopback that answers wrongly where it is told."""

import contextlib
import importlib
import json
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from push_support import Talk

from leviathan.site.load import load
from leviathan.site.schema import Site
from leviathan.terminal.output import Console

# The front end's own tests know how to start it.
sys.path.insert(0, str(Path(__file__).parents[1] / "leviathan_engine"))
FrontProcess = importlib.import_module("front_process").FrontProcess

MODEL = "letters"
TEXT = "abcdefghij"
#: A handler's way to answer one request, which has this body.
Route = Callable[["Reply", Any], None]


def smoke_site(**named: str) -> Site:
    """A site for an endpoint on loopback; `named` is section_key → text, parted at the first _."""
    values = {"engine.model_name": MODEL, "smoke.max_tokens": "10", "smoke.timeout_s": "5", "smoke.reach_s": "0"}
    return load(named=values | {name.replace("_", ".", 1): text for name, text in named.items()}).site


def talking() -> tuple[Console, Talk]:
    """A console and what it says."""
    talk = Talk()
    return Console(talk), talk


class Reply:
    """One answer under way."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self.handler = handler

    def send(self, status: int, body: bytes | str, kind: str = "application/json") -> None:
        """A whole answer."""
        raw = body.encode() if isinstance(body, str) else body
        self.head(status, kind, {"Content-Length": str(len(raw))})
        self.handler.wfile.write(raw)

    def json(self, status: int, content: Any) -> None:
        """A whole answer in JSON."""
        self.send(status, json.dumps(content))

    def head(self, status: int, kind: str, headers: Mapping[str, str]) -> None:
        """Status and headers."""
        self.handler.send_response(status)
        for name, value in {"Content-Type": kind, **headers}.items():
            self.handler.send_header(name, value)
        self.handler.end_headers()

    def events(self, events: list[Any], *, between_s: float = 0.0, end: bool = True) -> None:
        """A stream of events, each an object or a text; without `end` the connection is closed after the last."""
        self.head(200, "text/event-stream; charset=utf-8", {"Transfer-Encoding": "chunked"})
        for event in events:
            time.sleep(between_s)
            self.chunk(f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n")
        if end:
            self.handler.wfile.write(b"0\r\n\r\n")
        else:
            self.handler.close_connection = True

    def chunk(self, text: str) -> None:
        """One chunk of a chunked body."""
        raw = text.encode()
        self.handler.wfile.write(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")

    def reset(self) -> None:
        """Break the connection."""
        connection = self.handler.connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.handler.close_connection = True
        connection.close()
        self.handler.wfile = self.handler.rfile = open("/dev/null", "r+b")  # noqa: PTH123, SIM115 - swallows the rest


def usage(tokens: int = len(TEXT)) -> dict[str, int]:
    """The usage of an answer."""
    return {"prompt_tokens": 3, "completion_tokens": tokens, "total_tokens": 3 + tokens}


def whole(said: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An answer that comes at once."""
    return {"choices": [{"index": 0, **said, "finish_reason": "length"}], "usage": usage()} | changes


def chat(text: str = TEXT, **changes: Any) -> dict[str, Any]:
    """A chat that comes at once."""
    return whole({"message": {"role": "assistant", "content": text}}, **changes)


def chunk(delta: Any, finish: str | None = None, **changes: Any) -> dict[str, Any]:
    """One event of a chat's stream."""
    return {"id": "chatcmpl-1", "model": MODEL, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]} | (
        changes
    )


def pieces(text: str = TEXT) -> list[Any]:
    """The events of a right stream."""
    first, last = chunk({"role": "assistant", "content": ""}), chunk({}, "length")
    total = chunk({}, choices=[], usage=usage(len(text)))
    return [first, *(chunk({"content": letter}) for letter in text), last, total, "[DONE]"]


def right() -> dict[str, Route]:
    """Routes that answer as they should."""
    return {
        "health": lambda reply, body: reply.json(200, {"status": "ok"}),
        "models": lambda reply, body: reply.json(200, {"object": "list", "data": [{"id": MODEL}]}),
        "completion": lambda reply, body: reply.json(200, whole({"text": TEXT})),
        "chat": lambda reply, body: reply.json(200, chat()),
        "stream": lambda reply, body: reply.events(pieces(), between_s=0.002),
        "refusal": lambda reply, body: reply.json(400, {"error": {"message": "messages must be a list"}}),
    }


def route(method: str, path: str, body: Any) -> str:
    """Which of the routes a request is for."""
    if method == "GET":
        return {"/health": "health", "/v1/models": "models"}[path]
    if path == "/v1/completions":
        return "completion"
    if not isinstance(body["messages"], list):
        return "refusal"
    return "stream" if body.get("stream") else "chat"


@contextmanager
def endpoint(port: int = 0, **wrong: Route) -> Iterator[str]:
    """An endpoint with right answers but for the routes named; gives its URL. `port` 0 is any."""
    routes = right() | wrong

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            routes[route(self.command, self.path, body)](Reply(self), body)

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError, ValueError):  # the client has gone
                super().handle()

        def log_message(self, format: str, *args: Any) -> None:
            pass

        do_GET = do_POST = _serve

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_node_port() -> int:
    """A port from the range of NodePorts that nothing listens on."""
    for port in random.sample(range(30000, 32768), 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port between 30000 and 32767 is free")
