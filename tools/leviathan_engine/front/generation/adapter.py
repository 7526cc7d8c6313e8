"""The adapter of an API: reads its request bodies, and writes answers in its format.

app.py gives an adapter its path: `Route("/v1/messages", GenerationRoute(self, MESSAGES))`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.responses import Response

from ..api_error import ApiError
from ..served import Served
from .events import Choice, PromptRead, Usage, Written
from .request import GenerationRequest, JsonObject

SSE = "text/event-stream; charset=utf-8"


class AnswerWriter(Protocol):
    """Writes one answer. A stream is `begin`, `write` for each event, and `end` or `fail`.

    Each method returns the text to send, in ASCII, "" for nothing. Server-sent events must be complete, with their
    blank line.
    """

    media_type: str
    """Of the stream: SSE, or `application/x-ndjson`."""

    def begin(self) -> str:
        """Returns the first text of a stream."""

    def write(self, event: Written) -> str:
        """Returns the text of an event."""

    def progress(self, event: PromptRead) -> str:
        """Returns the progress of the prompt, if the request asks for it; "" if the API has no such event."""

    def beat(self, what: str) -> str:
        """Returns a comment or ping that keeps the connection open; `what` is "waiting" (for a turn) or "working"."""

    def end(self, usage: Usage) -> str:
        """Returns the last text of a complete stream."""

    def fail(self, err: ApiError) -> str:
        """Returns the last text of a stream that ends with an error."""

    def whole(self, choices: Sequence[Choice], usage: Usage) -> JsonObject:
        """Returns the body of an answer that is not streamed."""


Read = Callable[[Mapping[str, Any], Served], tuple[GenerationRequest, AnswerWriter]]


@dataclass(frozen=True)
class Adapter:
    """The adapter of one API. `read` gets the parsed body. Errors of `read`: ApiError 4xx.

    `error` writes an error that occurs before the answer begins.
    """

    read: Read
    error: Callable[[ApiError], Response] = ApiError.response
