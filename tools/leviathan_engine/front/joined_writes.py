"""Joins what is written to a connection within one turn of the event loop: an answer's head and body go out as one."""

import asyncio
from collections.abc import Callable
from typing import Any


class JoinedWrites:
    """A transport around another. What is written leaves at the end of the loop's turn, or before the close."""

    def __init__(self, transport: asyncio.Transport, call_soon: Callable[[Callable[[], None]], object]) -> None:
        """`transport` is the connection's, `call_soon` its loop's."""
        self._transport = transport
        self._call_soon = call_soon
        self._pieces: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        """Everything else is the other transport's."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Takes bytes; they are on their way once the loop turns."""
        if not data:
            return
        self._pieces.append(data)
        if len(self._pieces) == 1:
            self._call_soon(self._flush)

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken yet."""
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
