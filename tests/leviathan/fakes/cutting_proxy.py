"""A TCP proxy on loopback that cuts one connection at a place that the test names, and forwards the rest as it is."""

import re
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PIECE = 64 << 10
HEAD = re.compile(rb"(GET|HEAD|POST|PATCH|PUT|DELETE) \S+ HTTP/1\.1\r\n.*?\r\n\r\n", re.S)


class CuttingProxy:
    """Forwards to `target`, HOST:PORT, one thread a direction.

    It resets the client's connection in the request number `chunk` (the first is 0) of `method` as soon as `inside`
    bytes of the body went to the target; with 0 nothing of that request does. `methods` has what came, in order;
    `forwarded`, bytes of bodies that went to the target.
    """

    def __init__(self, target: str, *, chunk: int, inside: int = 0, method: str = "PATCH") -> None:
        self.target = target
        self.chunk = chunk
        self.inside = inside
        self.method = method
        self.cuts = 0
        self.forwarded = 0
        self.methods: list[str] = []
        self.host = ""
        self._lock = threading.Lock()

    @contextmanager
    def serve(self) -> Iterator["CuttingProxy"]:
        """Run on a free port of loopback until the block ends."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.host = f"127.0.0.1:{listener.getsockname()[1]}"
            thread = threading.Thread(target=self._accept, args=(listener,), daemon=True)
            thread.start()
            try:
                yield self
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                thread.join()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            name, _, port = self.target.rpartition(":")
            server = socket.create_connection((name, int(port)))
            threading.Thread(target=self._back, args=(server, client), daemon=True).start()
            threading.Thread(target=self._forth, args=(client, server), daemon=True).start()

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(PIECE):
                client.sendall(data)
            client.shutdown(socket.SHUT_WR)

    def _forth(self, client: socket.socket, server: socket.socket) -> None:
        """One request after the other, taken apart as far as this needs it."""
        waiting = b""
        with suppress(OSError), client, server:
            while True:
                while (match := HEAD.match(waiting)) is None:
                    data = client.recv(PIECE)
                    if not data or not (waiting + data)[:1].isalpha():  # ended, or TLS
                        return
                    waiting += data
                head, waiting = match[0], waiting[match.end() :]
                length = re.search(rb"(?i)content-length: (\d+)", head)
                left = int(length[1]) if length else 0
                limit = self._limit(match[1].decode(), left)
                if limit == 0:
                    self._cut(client)
                    return
                server.sendall(head)
                while left > 0 and limit > 0:
                    piece = waiting[: min(left, limit)] or client.recv(min(PIECE, left, limit))
                    if not piece:
                        return
                    waiting = waiting[len(piece) :]
                    server.sendall(piece)
                    left, limit = left - len(piece), limit - len(piece)
                    with self._lock:
                        self.forwarded += len(piece)
                if left > 0:
                    self._cut(client)
                    return

    def _limit(self, method: str, length: int) -> int:
        """How many bytes of a request's body may pass before the cut; a request without any is never cut."""
        with self._lock:
            self.methods.append(method)
            hit = method == self.method and self.methods.count(method) == self.chunk + 1
            self.cuts += hit
        return self.inside if hit else length + 1

    def _cut(self, client: socket.socket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
