"""Joins the writes to a connection in one turn of the event loop, so an answer's head and body are sent together."""

import asyncio
from collections.abc import Callable
from typing import Any


class JoinedWrites:
    """A transport that wraps another. It sends at the end of the event loop's turn, or before it is closed."""

    def __init__(self, transport: asyncio.Transport, call_soon: Callable[[Callable[[], None]], object]) -> None:
        """`transport` is the connection's, `call_soon` its loop's."""
        self._transport = transport
        self._call_soon = call_soon
        self._pieces: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        """Delegates everything else to the other transport."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Buffers bytes until the end of the event loop's turn."""
        if not data:
            return
        self._pieces.append(data)
        if len(self._pieces) == 1:
            self._call_soon(self._flush)

    def get_write_buffer_size(self) -> int:
        """Returns the number of bytes that are not in the kernel yet."""
        return sum(map(len, self._pieces)) + self._transport.get_write_buffer_size()

    def close(self) -> None:
        """Closes once everything is sent."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Closes at once; what is unsent is lost."""
        self._pieces.clear()
        self._transport.abort()

    def _flush(self) -> None:
        if self._pieces:
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._transport.write(data)
