"""A registry in memory that follows the OCI distribution specification, and breaks where a test asks it to.

It counts every byte of every body it takes, so that a test can say "no byte was sent twice".
"""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any

from .fault_registry_handler import Handler


@dataclass
class Fault:
    """What goes wrong with the next `times` requests of `method` whose path has `where` in it, but for `after` of them.

    One of: `cut_at`, the connection is reset as soon as the upload has that many bytes (with `keep` false it then
    forgets those of this request), -1: after the blob was stored, instead of the answer; `status` with `headers` and
    `code`, answered instead of doing the work; `digest`, named in Docker-Content-Digest; `delay_s`, before each 16 KiB
    of the body; `short`, only the first half of the chunk is kept, and the answer does not say how far the upload is.
    """

    method: str
    where: str = ""
    times: int = 1
    after: int = 0
    cut_at: int | None = None
    keep: bool = True
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    code: str = "FAULT"
    digest: str = ""
    delay_s: float = 0.0
    short: bool = False


@dataclass
class Rules:
    """How this registry is."""

    chunks: bool = True  # false: PATCH is 405
    monolithic_rejects: bool = False  # a digest mismatch is claimed for every PUT
    offset_in_location: bool = False  # as distribution 2.x: an address is good for one offset only
    min_chunk: int = 0
    largest_body: int = 0  # 413 above it, as a proxy in front would say
    basic: str = ""  # user:password
    bearer: bool = False
    token_life_s: int = 300


class FaultRegistry:
    """The state of the registry; `serve` runs it on loopback."""

    def __init__(self, *faults: Fault, rules: Rules | None = None) -> None:
        self.faults = list(faults)
        self.rules = rules if rules is not None else Rules()
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.taken = 0  # bytes of all bodies, also of uploads that were given up or cut
        self.sending = 0  # bodies of blobs that are under way now
        self.most_sending = 0
        self.requests: list[tuple[str, str]] = []
        self.tokens: set[str] = set()
        self.refresh_token = ""
        self.lock = threading.Lock()
        self.port = 0
        self.scheme = "http"

    @property
    def host(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    def methods(self) -> list[str]:
        """The methods of all requests, in order."""
        return [method for method, _ in self.requests]

    def fault(self, method: str, path: str) -> Fault | None:
        """The next fault for a request, used up."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and fault.where in path:
                    if fault.after > 0:
                        fault.after -= 1
                        continue
                    if fault.cut_at is None:
                        fault.times -= 1
                    return fault
        return None

    @contextmanager
    def serve(self, tls: ssl.SSLContext | None = None) -> Iterator["FaultRegistry"]:
        """Run on a free port of loopback until the block ends."""
        registry = self

        class Bound(Handler):
            state = registry

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that goes away is what these tests are about."""

        server = Server(("127.0.0.1", 0), Bound)
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
            self.scheme = "https"
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
