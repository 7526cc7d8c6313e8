"""Ollama's answers: a JSON object a line, the last one with the counts; and errors in its form."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from ..api_error import ApiError
from ..generation.events import Choice, Finish, Part, TextDelta, Usage, Written
from ..generation.request import JsonObject
from ..json_response import dumps, json_response

MILLISECOND = 1_000_000  # nanoseconds


class OllamaWriter:
    """Writes one answer of /api/chat, or of /api/generate."""

    media_type = "application/x-ndjson"

    def __init__(self, model: str, *, chat: bool) -> None:
        """`model` is the name that the answer carries."""
        self._model, self._chat = model, chat
        self._reason = "stop"

    def begin(self) -> str:
        """Nothing."""
        return ""

    def write(self, event: Written) -> str:
        """A line with text."""
        if isinstance(event, Finish):
            self._reason = event.reason
            return ""
        if not isinstance(event, TextDelta):
            return ""
        content, thinking = ("", event.text) if event.part is Part.REASONING else (event.text, "")
        return self._line(self._said(content, thinking) | {"done": False})

    def beat(self, what: str) -> str:
        """A line without text: clients read every line as JSON, so there are no comments and no blank lines."""
        return self._line(self._said("", "") | {"done": False})

    def end(self, usage: Usage) -> str:
        """The line with the counts."""
        return self._line(self._said("", "") | self._counts(usage, self._reason))

    def fail(self, err: ApiError) -> str:
        """A line with the error."""
        return dumps({"error": err.message}) + "\n"

    def whole(self, choices: Sequence[Choice], usage: Usage) -> JsonObject:
        """The answer in one object."""
        choice = choices[0]
        said = self._said(choice.content, choice.reasoning)
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
    """The whole answer of an error."""
    return json_response({"error": err.message}, err.status, err.headers)


def now() -> str:
    """The time as Ollama writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def parsed(arguments: str) -> JsonObject:
    """A call's arguments as the object that Ollama's clients read; what is not an object stays text under "text"."""
    try:
        value = json.loads(arguments or "{}")
    except ValueError:
        return {"text": arguments}
    return value if isinstance(value, dict) else {"text": arguments}
