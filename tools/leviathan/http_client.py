"""What the tool's httpx clients share: the proxy is chosen by host, and no answer is endless.

httpx itself bounds only the silence between two bytes, reads proxy variables and ~/.netrc in its own way, and unpacks
compressed bodies of any size.
"""

import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from leviathan.errors import UsageError
from leviathan.proxies import Proxy, ProxyRefused, proxy_for

#: Bytes that an answer's head may have besides its body: httpcore's own limit of 100 kB, and TLS around it.
HEAD = 256 << 10


class BadAnswer(Exception):
    """An answer that is longer than any right one, takes longer, or is compressed; the text says which."""


@dataclass(frozen=True)
class Bounds:
    """What an answer may have: bytes in its body, and seconds from the request's last byte to the answer's last."""

    body: int = 4 << 20
    seconds: float = 300.0


class _Stream(httpcore.NetworkStream):
    """A connection whose reads are counted from the last write on: that is one answer in HTTP/1.1."""

    def __init__(self, stream: httpcore.NetworkStream, bounds: Bounds, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._bounds = bounds
        self._clock = clock
        self._began: float | None = None
        self._size = 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        now = self._clock()
        if self._began is None:
            self._began, self._size = now, 0
        left = self._bounds.seconds - (now - self._began)
        if left <= 0 and self._size:
            raise self._slow()
        try:
            data = self._stream.read(max_bytes, max(left, 0.001) if timeout is None else min(timeout, max(left, 0.001)))
        except httpcore.ReadTimeout:
            if self._size and self._clock() - self._began >= self._bounds.seconds:
                raise self._slow() from None
            raise
        self._size += len(data)
        if self._size > self._bounds.body + HEAD:
            raise BadAnswer(f"an answer of more than {self._bounds.body >> 10} KiB")
        return data

    def _slow(self) -> BadAnswer:
        return BadAnswer(f"an answer that has not ended after {self._bounds.seconds:g} s ({self._size} bytes so far)")

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._began = None
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout), self._bounds, self._clock)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    def __init__(self, bounds: Bounds, clock: Callable[[], float]) -> None:
        self._bounds = bounds
        self._clock = clock

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = super().connect_tcp(host, port, timeout, local_address, socket_options)
        return _Stream(stream, self._bounds, self._clock)


class ByHost(httpx.BaseTransport):
    """Sends each request directly or through the proxy that the environment names for its address.

    Arguments: `environ`, where the proxy variables are, or None for a client that uses no proxy; `verify`, the TLS
    context, or False for none; `limits` of the connections to one proxy, or to all hosts without; `bounds` of an
    answer; `clock` in seconds.
    Errors of requests, besides httpx's: UsageError for a variable that names no proxy that can be used; BadAnswer.
    """

    def __init__(
        self,
        *,
        environ: Mapping[str, str] | None,
        verify: ssl.SSLContext | bool,
        limits: httpx.Limits | None = None,
        bounds: Bounds | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._environ = dict(environ or {})
        self._verify = verify
        self._limits = limits or httpx.Limits()
        self._bounds = bounds or Bounds()
        self._clock = clock
        self._transports: dict[Proxy | None, httpx.HTTPTransport] = {}
        self._lock = threading.Lock()

    def proxy(self, url: str) -> Proxy | None:
        """The proxy for `url`. Errors: UsageError."""
        try:
            return proxy_for(url, self._environ)
        except ProxyRefused as refused:
            raise UsageError(refused.what, where=refused.where, why=refused.why, remedy=refused.remedy) from None
        except ValueError as error:
            raise httpx.UnsupportedProtocol(f"{url[:200]!r} is not an address: {error}") from None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """httpx's way to send; see the class."""
        response = self._transport(self.proxy(str(request.url))).handle_request(request)
        packed = response.headers.get("content-encoding", "").strip().lower()
        if packed not in ("", "identity"):
            response.close()
            raise BadAnswer(f"a body in the encoding {packed[:20]!r}, which was not asked for")
        return response

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for transport in self._transports.values():
                transport.close()

    def _transport(self, proxy: Proxy | None) -> httpx.HTTPTransport:
        with self._lock:
            found = self._transports.get(proxy)
            if found is None:
                address = httpx.Proxy(proxy.url) if proxy is not None else None
                found = httpx.HTTPTransport(verify=self._verify, trust_env=False, limits=self._limits, proxy=address)
                # httpx has no way to name httpcore's network backend.
                found._pool._network_backend = _Backend(self._bounds, self._clock)
                self._transports[proxy] = found
            return found


#: What each client asks for: bodies as they are, so that the bound on bytes is one on memory.
HEADERS = {"Accept-Encoding": "identity"}
