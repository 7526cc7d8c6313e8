"""TLS for a connection: its handshake counts as a connection, and has the time limit of a request's head."""

import asyncio
import ssl
from collections.abc import Callable

from .connections import Connections, address_group


class _Early(asyncio.Protocol):
    """Buffers data that arrives right after the handshake, before the inner protocol is connected."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


class TlsHandshake(asyncio.Protocol):
    """Connects a client to `inside` after its handshake; until then the registry may close it for other clients."""

    def __init__(self, inside: asyncio.Protocol, context: ssl.SSLContext, registry: Connections) -> None:
        """`inside` is the protocol of the connection, `context` the server's TLS context."""
        self.address = ""
        self._inside = inside
        self._context = context
        self._registry = registry
        self._transport: asyncio.Transport | None = None
        self._deadline = 0.0
        self._shaking: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts the handshake of a new connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.pause_reading()
        self.address = address_group((transport.get_extra_info("peername") or ("",))[0])
        self._deadline = self._registry.clock() + self._registry.bounds.head_seconds
        self._registry.opened(self)
        self._shaking = asyncio.get_running_loop().create_task(self._shake(transport))

    def overdue(self, now: float) -> bool:
        """Whether the handshake takes too long."""
        return now >= self._deadline

    def abort(self) -> None:
        """Closes the connection immediately."""
        if self._transport is not None:
            self._transport.abort()
        if self._shaking is not None:
            self._shaking.cancel()

    async def _shake(self, transport: asyncio.Transport) -> None:
        seconds = self._registry.bounds.head_seconds
        early = _Early()
        try:
            inner = await asyncio.get_running_loop().start_tls(
                transport, early, self._context, server_side=True, ssl_handshake_timeout=seconds
            )
        except OSError:  # not TLS, or cut off: only closed
            inner = None
            transport.abort()
        finally:
            self._registry.gone(self)
        if inner is not None and not early.lost:
            self._begin(inner, early.data)

    def _begin(self, inner: asyncio.Transport, early: bytearray) -> None:
        inner.set_protocol(self._inside)
        self._inside.connection_made(inner)
        if early:
            self._inside.data_received(bytes(early))


def behind_tls(
    inside: Callable[..., asyncio.Protocol], context: ssl.SSLContext, registry: Connections
) -> Callable[..., TlsHandshake]:
    """Returns a factory of TLS connections; `inside` is the factory of the protocols inside them."""

    def make(*arguments: object, **named: object) -> TlsHandshake:
        return TlsHandshake(inside(*arguments, **named), context, registry)

    return make
