"""How an answer is sent: as a stream of events, or whole; and what is sent meanwhile, so that no proxy cuts it off.

A stream says `: waiting` or `: working`, comments of the event stream. A whole answer that takes longer than the
heartbeat begins with its head and blanks, which JSON allows in front of a value.
"""

from typing import Any

from starlette.types import Send

from .api_error import ApiError
from .json_response import dumps

Headers = list[tuple[bytes, bytes]]
STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
WHOLE_HEADERS: Headers = [(b"content-type", b"application/json")]


class Reply:
    """The sending side of one request. `begun` once the status line has gone out."""

    def __init__(self, send: Send, *, stream: bool) -> None:
        """Nothing is sent yet."""
        self._send = send
        self.stream = stream
        self.begun = False

    async def begin(self, headers: Headers | None = None) -> None:
        """The head, once: status 200."""
        if not self.begun:
            self.begun = True
            headers = headers or (STREAM_HEADERS if self.stream else WHOLE_HEADERS)
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def beat(self, what: str) -> None:
        """Something to keep the connection alive, where nothing has come for a while."""
        await self.begin()
        await self._write(f": {what}\n\n" if self.stream else " ")

    async def event(self, body: dict[str, Any]) -> None:
        """One event of a stream."""
        await self.begin()
        await self._write(f"data: {dumps(body)}\n\n")

    async def done(self) -> None:
        """The end of a stream."""
        await self._write("data: [DONE]\n\n")
        await self._end(b"")

    async def whole(self, body: dict[str, Any]) -> None:
        """The answer in one piece, with its length where nothing was sent before."""
        text = dumps(body).encode("ascii")
        await self.begin([*WHOLE_HEADERS, (b"content-length", str(len(text)).encode("ascii"))])
        await self._end(text)

    async def fail(self, err: ApiError) -> None:
        """Ends an answer that has begun with an error. Errors: `err` itself when nothing was sent yet.

        A stream ends with the error in place of [DONE]. A whole answer already has status 200, so after the error's
        text it is left incomplete: the server closes the connection, and clients see that the answer is broken.
        """
        if not self.begun:
            raise err
        if self.stream:
            await self._write(f"data: {dumps(err.body())}\n\n")
            await self._end(b"")
        else:
            await self._write(dumps(err.body()))

    async def _write(self, text: str) -> None:
        await self._send({"type": "http.response.body", "body": text.encode("ascii"), "more_body": True})

    async def _end(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
