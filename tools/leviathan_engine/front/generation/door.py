"""What an API adds to the generation: how its bodies are read, and how answers are written in its format.

A door is a value of `Door`; app.py gives it a path: `Route("/v1/messages", GenerationRoute(self, MESSAGES))`.
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

    Each gives text for the wire. The text is ASCII and whole: "" sends nothing, and a server-sent event ends with its
    blank line.
    """

    media_type: str
    """Of the stream: SSE, or `application/x-ndjson`."""

    def begin(self) -> str:
        """The first text of a stream."""

    def write(self, event: Written) -> str:
        """The text of an event."""

    def progress(self, event: PromptRead) -> str:
        """How far the prompt is, where the request asks for `progress`; "" where the API has nothing for it."""

    def beat(self, what: str) -> str:
        """A comment or a ping that keeps the connection open; `what`: "waiting" (also before `begin`) or "working"."""

    def end(self, usage: Usage) -> str:
        """The last text of a complete stream."""

    def fail(self, err: ApiError) -> str:
        """The last text of a stream that breaks off."""

    def whole(self, choices: Sequence[Choice], usage: Usage) -> JsonObject:
        """The body of an answer that is not streamed."""


Read = Callable[[Mapping[str, Any], Served], tuple[GenerationRequest, AnswerWriter]]


@dataclass(frozen=True)
class Door:
    """One API's way in and out. `read` takes the parsed body. Errors of `read`: ApiError 4xx.

    `error` writes an error that comes before the answer begins.
    """

    read: Read
    error: Callable[[ApiError], Response] = ApiError.response
