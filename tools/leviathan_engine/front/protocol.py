"""uvicorn's connection class with the limits of connections.py."""

from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .api_error import bad
from .connections import Connections, address_group
from .joined_writes import JoinedWrites
from .json_response import dumps
from .sockets import bytes_taken

# Bytes that a client must read in `client_seconds`, if that much is sent to it; otherwise it counts as stalled.
LEAST_BYTES = 8 << 10
UNREADABLE = bad("expected an HTTP/1.1 request as defined in RFC 9112", code="invalid_http")


class BoundedProtocol(H11Protocol):
    """One connection. It tells the registry when it waits for its client, and when a deadline has passed."""

    registry: Connections

    def connection_made(self, transport: Any) -> None:
        """Starts a connection, with a deadline for its first byte and its head."""
        super().connection_made(JoinedWrites(transport, self.loop.call_soon))  # type: ignore[arg-type]  # it acts as one
        self.address = address_group(self.client[0] if self.client else "")
        self._deadline: float | None = self._in_head_seconds()
        self._mark: tuple[float, int] | None = None
        self.registry.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends a connection."""
        self.registry.gone(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Handles bytes from the client."""
        super().data_received(data)
        self._settle()

    def on_response_complete(self) -> None:
        """Handles the end of writing an answer; the client may not have read it yet."""
        super().on_response_complete()
        self._settle()

    def send_400_response(self, msg: str) -> None:
        """Answers a request that h11 cannot parse in the API's format, and closes the connection.

        If an answer has already begun, only closes the connection. `msg` is uvicorn's message, and not used.
        """
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        body = dumps(UNREADABLE.body()).encode("ascii")
        length = str(len(body)).encode("ascii")
        headers = [(b"content-type", b"application/json"), (b"content-length", length), (b"connection", b"close")]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def overdue(self, now: float) -> bool:
        """Whether the client is late with a head or the rest of a body, or does not read what is sent to it."""
        if self._deadline is not None and now >= self._deadline:
            return True
        if not self.transport.get_write_buffer_size():
            self._mark = None
            return False
        taken = bytes_taken(self.transport.get_extra_info("socket"))
        if self._mark is None or taken - self._mark[1] >= LEAST_BYTES:
            self._mark = (now, taken)
        return now - self._mark[0] >= self.registry.bounds.client_seconds

    def abort(self) -> None:
        """Closes it at once; what is unsent is lost."""
        self.transport.abort()

    def _settle(self) -> None:
        """Updates after each event whether the connection waits for its client or for the server."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._deadline = None  # asgi.py has a separate limit for bodies
            (self.registry.waits if cycle.more_body else self.registry.works)(self)
            return
        self.registry.waits(self)
        begun = self.conn.their_state is h11.SEND_BODY or bool(self.conn.trailing_data[0])
        if cycle is not None and not begun:
            self._deadline = None  # between two requests, uvicorn's keep-alive timer applies
        elif self._deadline is None:
            self._deadline = self._in_head_seconds()

    def _in_head_seconds(self) -> float:
        return self.registry.clock() + self.registry.bounds.head_seconds


def bounded(connections: Connections) -> type[BoundedProtocol]:
    """Returns the connection class that registers with `connections`."""
    return type("Bounded", (BoundedProtocol,), {"registry": connections})
