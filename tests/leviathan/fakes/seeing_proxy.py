"""An HTTP proxy on loopback that keeps what it is asked, and asks one target for every host."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class SeeingProxy:
    """`address` is the proxy's; `target` HOST:PORT gets what is asked, or empty: then all is answered with 502.

    `seen` has each request as (method, target as asked), `logins` its Proxy-Authorization.
    """

    target: str = ""
    address: str = ""
    seen: list[tuple[str, str]] = field(default_factory=list)
    logins: list[str | None] = field(default_factory=list)


@contextlib.contextmanager
def seeing_proxy(target: str = "") -> Iterator[SeeingProxy]:
    """A proxy that runs until the block ends."""
    proxy = SeeingProxy(target)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _note(self) -> bool:
            proxy.seen.append((self.command, self.path))
            proxy.logins.append(self.headers.get("Proxy-Authorization"))
            if not proxy.target:
                self.send_error(502, "this is the proxy")
                self.close_connection = True
            return bool(proxy.target)

        def do_CONNECT(self) -> None:
            if not self._note():
                return
            name, _, port = proxy.target.rpartition(":")
            with socket.create_connection((name, int(port))) as other:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=_copy, args=(other, self.connection), daemon=True)
                back.start()
                _copy(self.connection, other)
                back.join()
            self.close_connection = True

        def do_GET(self) -> None:
            if not self._note():
                return
            length = int(self.headers.get("Content-Length") or 0)
            connection = HTTPConnection(proxy.target, timeout=10)
            path = "/" + self.path.split("://", 1)[-1].partition("/")[2]
            connection.request(self.command, path, self.rfile.read(length) or None, dict(self.headers.items()))
            answer = connection.getresponse()
            body = answer.read()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.getheader("Content-Type", ""))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            connection.close()

        do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
