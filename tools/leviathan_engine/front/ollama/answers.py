"""Ollama's answers: one JSON object per line, the last one with the counts; and errors in Ollama's format."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from ..api_error import ApiError
from ..generation.events import (
    Choice,
    Finish,
    LogprobDelta,
    Part,
    PromptDelta,
    PromptRead,
    ToolCall,
    ToolCallDelta,
    Usage,
    Written,
)
from ..generation.request import JsonObject
from ..json_response import dumps, json_object, json_response

MILLISECOND = 1_000_000  # nanoseconds


class OllamaWriter:
    """Writes one answer of /api/chat, or of /api/generate."""

    media_type = "application/x-ndjson"

    def __init__(self, model: str, *, chat: bool) -> None:
        """`model` is the name in the answer."""
        self._model, self._chat = model, chat
        self._reason = "stop"
        self._calls: list[ToolCall] = []

    def begin(self) -> str:
        """Returns "": the first line has text."""
        return ""

    def write(self, event: Written) -> str:
        """Returns a line with text."""
        if isinstance(event, Finish):
            self._reason = event.reason
            return "".join(self._line(self._called([call]) | {"done": False}) for call in self._calls)
        if isinstance(event, ToolCallDelta):
            self._hear(event)
            return ""
        if isinstance(event, LogprobDelta | PromptDelta):
            return ""
        content, thinking = ("", event.text) if event.part is Part.REASONING else (event.text, "")
        return self._line(self._said(content, thinking) | {"done": False})

    def _hear(self, event: ToolCallDelta) -> None:
        """Collects a call, because Ollama streams a call in one piece."""
        if event.name:
            self._calls.append(ToolCall(event.id, event.name))
        self._calls[event.call].arguments += event.arguments

    def _called(self, calls: Sequence[ToolCall]) -> JsonObject:
        functions = [
            {"index": index, "name": call.name, "arguments": json_object(call.arguments)}
            for index, call in enumerate(calls)
        ]
        message = {"role": "assistant", "content": "", "tool_calls": [{"function": one} for one in functions]}
        return {"message": message} if self._chat else {"response": ""}

    def progress(self, event: PromptRead) -> str:
        """Returns "", because the API has no such event."""
        return ""

    def beat(self, what: str) -> str:
        """Returns a line without text. Clients parse every line as JSON, so comments are not possible."""
        return self._line(self._said("", "") | {"done": False})

    def end(self, usage: Usage) -> str:
        """Returns the line with the counts."""
        return self._line(self._said("", "") | self._counts(usage, self._reason))

    def fail(self, err: ApiError) -> str:
        """Returns a line with the error."""
        return dumps({"error": err.message}) + "\n"

    def whole(self, choices: Sequence[Choice], usage: Usage) -> JsonObject:
        """Returns the answer as one object."""
        choice = choices[0]
        said = self._said(choice.content, choice.reasoning)
        if choice.calls and self._chat:
            said["message"]["tool_calls"] = self._called(choice.calls)["message"]["tool_calls"]
        return self._head() | said | self._counts(usage, choice.finish)

    def _head(self) -> JsonObject:
        return {"model": self._model, "created_at": now()}

    def _line(self, body: JsonObject) -> str:
        return dumps(self._head() | body) + "\n"

    def _said(self, content: str, thinking: str) -> JsonObject:
        thought: JsonObject = {"thinking": thinking} if thinking else {}
        if not self._chat:
            return {"response": content} | thought
        return {"message": {"role": "assistant", "content": content} | thought}

    def _counts(self, usage: Usage, reason: str) -> JsonObject:
        times: dict[str, Any] = usage.timings
        reading, writing = times.get("prompt_ms", 0.0), times.get("predicted_ms", 0.0)
        return {
            "done": True,
            "done_reason": "length" if reason == "length" else "stop",
            "total_duration": int(MILLISECOND * (times.get("queue_ms", 0.0) + reading + writing)),
            "load_duration": 0,
            "prompt_eval_count": usage.prompt,
            "prompt_eval_duration": int(MILLISECOND * reading),
            "eval_count": usage.generated,
            "eval_duration": int(MILLISECOND * writing),
        }


def error_response(err: ApiError) -> Response:
    """Returns the response for an error in Ollama's format, with OpenAI's `param` and `code`."""
    return json_response({"error": err.message, "param": err.param, "code": err.code}, err.status, err.headers)


def now() -> str:
    """Returns the current time in Ollama's format."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
