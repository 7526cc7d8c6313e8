"""How an answer is sent: as a stream of events, or whole; and what is sent meanwhile, so that no proxy cuts it off.

A stream says that it waits or works in the form that its writer has for it. A whole answer that takes longer than the
heartbeat begins with its head and blanks, which JSON allows in front of a value.
"""

from typing import Any

from starlette.types import Send

from ..api_error import ApiError
from ..json_response import dumps
from .door import AnswerWriter

NOT_BUFFERED = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class Reply:
    """The sending side of one request. `begun` once the status line has gone out.

    `headers` may be added to until then; their text is ASCII.
    """

    def __init__(self, send: Send, writer: AnswerWriter, *, stream: bool) -> None:
        """Nothing is sent yet."""
        self._send = send
        self.writer = writer
        self.stream = stream
        self.headers: dict[str, str] = {}
        self.begun = False

    async def begin(self, length: int | None = None) -> None:
        """The head, once: status 200; `length` in bytes where it is known."""
        if self.begun:
            return
        self.begun = True
        headers = {"content-type": self.writer.media_type} | NOT_BUFFERED if self.stream else _json_head(length)
        raw = [(name.encode("ascii"), value.encode("ascii")) for name, value in (headers | self.headers).items()]
        await self._send({"type": "http.response.start", "status": 200, "headers": raw})

    async def beat(self, what: str) -> None:
        """Something to keep the connection alive, where nothing has come for a while."""
        await self.begin()
        await self._write(self.writer.beat(what) if self.stream else " ")

    async def text(self, text: str) -> None:
        """A piece of a stream, as its writer has written it; "" sends nothing."""
        await self.begin()
        await self._write(text)

    async def done(self, text: str) -> None:
        """The end of a stream."""
        await self._write(text)
        await self._end(b"")

    async def whole(self, body: dict[str, Any]) -> None:
        """The answer in one piece, with its length where nothing was sent before."""
        text = dumps(body).encode("ascii")
        await self.begin(len(text))
        await self._end(text)

    async def fail(self, err: ApiError) -> None:
        """Ends an answer that has begun with an error. Errors: `err` itself when nothing was sent yet.

        A stream ends with the error in place of its end. A whole answer already has status 200, so after the error's
        text it is left incomplete: the server closes the connection, and clients see that the answer is broken.
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
