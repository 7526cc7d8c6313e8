"""Sends an answer, as a stream of events or whole, with heartbeats, so that no proxy closes the connection.

The heartbeat of a stream is in the format of its writer. A whole answer that takes longer than the heartbeat starts
with its head and spaces, which JSON allows before a value.
"""

from starlette.types import Send

from ..api_error import ApiError
from ..json_response import dumps
from .adapter import AnswerWriter

NOT_BUFFERED = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class Reply:
    """The sending side of one request. `begun` is true when the status line is sent.

    `headers` may be changed until then; they are ASCII.
    """

    def __init__(self, send: Send, writer: AnswerWriter, *, stream: bool) -> None:
        """Sends nothing yet."""
        self._send = send
        self.writer = writer
        self.stream = stream
        self.headers: dict[str, str] = {}
        self.begun = False

    async def begin(self, length: int | None = None) -> None:
        """Sends the head once, with status 200; `length` in bytes if it is known."""
        if self.begun:
            return
        self.begun = True
        headers = {"content-type": self.writer.media_type} | NOT_BUFFERED if self.stream else _json_head(length)
        raw = [(name.encode("ascii"), value.encode("ascii")) for name, value in (headers | self.headers).items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": raw})

    async def beat(self, what: str) -> None:
        """Sends a heartbeat, to keep the connection open."""
        await self.begin()
        await self._write(self.writer.beat(what) if self.stream else " ")

    async def text(self, text: str) -> None:
        """Sends a piece of a stream from its writer; "" sends nothing."""
        await self.begin()
        await self._write(text)

    async def done(self, text: str) -> None:
        """Sends the end of a stream."""
        await self._write(text)
        await self._end(b"")

    async def whole(self, text: str) -> None:
        """Sends the whole answer in JSON, with its length if nothing was sent before."""
        body = text.encode("ascii")
        await self.begin(len(body))
        await self._end(body)

    async def fail(self, err: ApiError) -> None:
        """Ends an answer that has begun with an error. Errors: raises `err` if nothing was sent yet.

        A stream ends with the error. A whole answer already has status 200, so it stays incomplete after the error's
        text: the server closes the connection, and clients notice that the answer is broken.
        """
        if not self.begun:
            raise err
        if self.stream:
            await self._write(self.writer.fail(err))
            await self._end(b"")
        else:
            await self._write(dumps(err.body()))

    async def _write(self, text: str) -> None:
        if text:
            await self._send({"type": "http.response.body", "body": text.encode("ascii"), "more_body": True})

    async def _end(self, body: bytes) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": False})


def _json_head(length: int | None) -> dict[str, str]:
    head = {"content-type": "application/json"}
    return head if length is None else head | {"content-length": str(length)}
