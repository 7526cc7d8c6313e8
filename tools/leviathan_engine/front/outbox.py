"""Sends a stream from a separate task, so that the worker's turn never waits for a client that reads slowly.

An answer that is sent as a whole needs no task, because the turn is over by then.

The outbox holds what the client has not read yet. `max_new_tokens` bounds one answer, and `Unsent` bounds the sum of
all answers. `protocol.py` aborts a connection that makes no progress.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from starlette.types import Message, Send

from .asgi import ClientGone

# Maximum bytes of all answers that wait for their clients: 100 answers of 2,000 tokens.
MOST_UNSENT = 64 << 20
# Maximum bytes that are joined into one message.
JOINED = 64 << 10


class Unsent:
    """All answers that clients have not read yet. Drops the largest one if their sum is above `most` bytes."""

    def __init__(self, most: int = MOST_UNSENT) -> None:
        self._most = most
        self._outboxes: set[Outbox] = set()
        self.total = 0

    def add(self, outbox: "Outbox") -> None:
        """Adds `outbox`."""
        self._outboxes.add(outbox)

    def remove(self, outbox: "Outbox") -> None:
        """Removes `outbox`."""
        if outbox in self._outboxes:
            self._outboxes.remove(outbox)
            self.total -= outbox.size

    def grew(self, size: int) -> None:
        """Adds `size` bytes (or subtracts them) for one answer; drops the largest one if the sum is too large."""
        self.total += size
        while self.total > self._most:
            largest = max(self._outboxes, key=lambda outbox: outbox.size)
            self.remove(largest)
            largest.drop()


class Outbox:
    """Buffers one answer: an ASGI `send` that returns immediately; `finish` waits until all is sent.

    `complete` is true when the last message is sent. `async with` ends its task. Errors: ClientGone after the answer
    was dropped because its client was too slow.
    """

    def __init__(self, send: Send, unsent: Unsent) -> None:
        self._send = send
        self._unsent = unsent
        self._messages: deque[Message] = deque()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._here: asyncio.Task[Any] | None = None
        self._closing = False
        self._dropped = False
        self.complete = False
        self.size = 0

    async def __aenter__(self) -> Self:
        self._unsent.add(self)
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._unsent.remove(self)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def send(self, message: Message) -> None:
        """Adds the next message of the answer."""
        if self._dropped or (self._task is not None and self._task.done()):
            raise ClientGone
        size = len(message.get("body", b""))
        self._messages.append(message)
        self.size += size
        if message.get("more_body", False) and self._task is None:
            self._task = asyncio.create_task(self._run())
        self._news.set()
        self._unsent.grew(size)

    async def finish(self) -> None:
        """Waits until all is sent, except for what the connection buffers. Errors: those of `send`."""
        self._closing = True
        self._news.set()
        if self._task is None:
            await self._finish_here()
            return
        await asyncio.wait({self._task})
        if self._dropped or self._task.cancelled():
            raise ClientGone
        self._task.result()

    async def _finish_here(self) -> None:
        if self._dropped:
            raise ClientGone
        self._here = task = asyncio.current_task()
        assert task is not None
        try:
            await self._run()
        except asyncio.CancelledError:
            if self._dropped and not task.uncancel():
                raise ClientGone from None
            raise
        finally:
            self._here = None

    async def after(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs `work`, which writes the answer, then `finish`. Errors: those of both."""
        await work
        await self.finish()

    def drop(self) -> None:
        """Drops the answer, to free memory for others."""
        self._dropped = True
        self._messages.clear()
        self.size = 0
        for task in (self._task, self._here):
            if task is not None:
                task.cancel()

    async def _run(self) -> None:
        more = True
        while more:
            if not self._messages:
                if self._closing:
                    return  # the answer stays incomplete, so the server closes its connection
                self._news.clear()
                await self._news.wait()
                continue
            message = self._next()
            size = len(message.get("body", b""))
            more = message["type"] == "http.response.start" or message.get("more_body", False)
            await self._send(message)
            self.complete = not more
            self.size -= size
            self._unsent.grew(-size)

    def _next(self) -> Message:
        """Returns the next message; joins pieces of the body up to JOINED bytes."""
        message = self._messages.popleft()
        if message["type"] != "http.response.body":
            return message
        pieces, more = [message.get("body", b"")], message.get("more_body", False)
        size = len(pieces[0])
        while more and self._messages and size + len(self._messages[0].get("body", b"")) <= JOINED:
            following = self._messages.popleft()
            pieces.append(following.get("body", b""))
            size += len(pieces[-1])
            more = following.get("more_body", False)
        return {"type": "http.response.body", "body": b"".join(pieces), "more_body": more}
