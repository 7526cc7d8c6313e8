"""A real HTTP server on loopback that can fail in the ways that servers do."""

import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypedDict, Unpack


@dataclass
class Resource:
    """What an address serves; `fail` statuses come first, then `cut` answers that end after that many bytes."""

    body: bytes
    kind: str = "application/octet-stream"
    fail: list[int] = field(default_factory=list)
    cut: list[int] = field(default_factory=list)
    ranges: bool = True
    skew: list[int] = field(default_factory=list)  # ranges that start this much after what was asked for
    stall: int | None = None  # send this many bytes of the body, then nothing until the server ends


class How(TypedDict, total=False):
    """The fields of a `Resource` but its body, for those that pass them on."""

    kind: str
    fail: list[int]
    cut: list[int]
    ranges: bool
    skew: list[int]
    stall: int | None


@dataclass
class Site:
    """A server: address → resource, and every request as (address, Range header, Authorization header)."""

    url: str = ""
    resources: dict[str, Resource] = field(default_factory=dict)
    requests: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    stalled: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)  # a client went away before its answer was whole

    def serve(self, path: str, body: bytes, **how: Unpack[How]) -> str:
        """Serve `body` at `path`; its whole address."""
        self.resources[path] = Resource(body, **how)
        return self.url + path

    def ranges(self, path: str) -> list[str | None]:
        """The Range header of each request for `path`."""
        return [header for address, header, _ in self.requests if address == path]


@contextmanager
def serving() -> Iterator[Site]:
    """A server on a free port of loopback, up until the block ends."""
    state = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.requests.append((self.path, wanted, self.headers.get("Authorization")))
            resource = state.resources.get(self.path)
            if resource is None:
                return self.send_error(404)
            if resource.fail:
                return self.send_error(resource.fail.pop(0))
            total = len(resource.body)
            match = re.fullmatch(r"bytes=(\d+)-", wanted or "") if resource.ranges else None
            start = int(match[1]) + (resource.skew.pop() if resource.skew else 0) if match else 0
            if match and start >= total:
                return self.send_error(416)
            self.send_response(206 if match else 200)
            if match:
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.send_header("Content-Type", resource.kind)
            self.send_header("Content-Length", str(total - start))
            self.end_headers()
            if resource.stall is not None and start < resource.stall:
                self.wfile.write(resource.body[start : resource.stall])
                state.stalled.set()
                state.ended.wait(60)
                return None
            stop = start + resource.cut.pop(0) if resource.cut else total
            self.wfile.write(resource.body[start:stop])
            return None

        def log_message(self, *_: object) -> None:
            return

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Clients that leave in the middle of an answer are what these tests are about; all else is a fault."""
            if isinstance(sys.exception(), ConnectionError):
                state.left.set()
            else:
                super().handle_error(request, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n"


@contextmanager
def endless(piece: bytes, pause: float, head: bytes = HEAD) -> Iterator[str]:
    """A server whose answers never end: `piece` again and again, `pause` seconds apart, after `head`; its address."""
    ended = threading.Event()

    def answer(client: socket.socket) -> None:
        with client, suppress(OSError):
            client.recv(65536)
            client.sendall(head)
            while not ended.is_set():
                client.sendall(piece)
                time.sleep(pause)

    def serve() -> None:
        while not ended.is_set():
            with suppress(OSError):
                client, _ = listener.accept()
                threading.Thread(target=answer, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        server = threading.Thread(target=serve, daemon=True)
        server.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/f"
        finally:
            ended.set()
            server.join()
