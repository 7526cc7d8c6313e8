"""OpenAI's answer objects: chat.completion, text_completion and the chunks of their streams."""

import time
import uuid
from dataclasses import dataclass, field
from typing import Any

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Usage:
    """Tokens of a request."""

    prompt: int
    generated: int

    def body(self) -> JsonObject:
        """The `usage` object."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.generated,
            "total_tokens": self.prompt + self.generated,
        }


@dataclass(frozen=True)
class Answer:
    """One answer's fixed part: an id, a time, the model's name; chat or plain completion."""

    model: str
    chat: bool
    id: str = ""
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", ("chatcmpl-" if self.chat else "cmpl-") + uuid.uuid4().hex)

    def whole(self, text: str, finish: str, usage: Usage) -> JsonObject:
        """The answer without streaming."""
        said: JsonObject = {"message": {"role": "assistant", "content": text}} if self.chat else {"text": text}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": finish}
        return self._head("chat.completion") | {"choices": [choice], "usage": usage.body()}

    def first(self) -> JsonObject | None:
        """The first chunk of a chat's stream, which names the role; a completion has none."""
        return self._chunk({"delta": {"role": "assistant", "content": ""}}, None) if self.chat else None

    def piece(self, text: str) -> JsonObject:
        """A chunk with text."""
        return self._chunk({"delta": {"content": text}} if self.chat else {"text": text}, None)

    def last(self, finish: str) -> JsonObject:
        """The chunk that says why the answer ends."""
        return self._chunk({"delta": {}} if self.chat else {"text": ""}, finish)

    def usage(self, usage: Usage) -> JsonObject:
        """The chunk after the last, for stream_options.include_usage."""
        return self._head("chat.completion.chunk") | {"choices": [], "usage": usage.body()}

    def _chunk(self, said: JsonObject, finish: str | None) -> JsonObject:
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": finish}
        return self._head("chat.completion.chunk") | {"choices": [choice]}

    def _head(self, kind: str) -> JsonObject:
        return {
            "id": self.id,
            "object": kind if self.chat else "text_completion",
            "created": self.created,
            "model": self.model,
        }


def models(name: str, created: int) -> JsonObject:
    """The body of /v1/models."""
    return {"object": "list", "data": [model(name, created)]}


def model(name: str, created: int) -> JsonObject:
    """One model."""
    return {"id": name, "object": "model", "created": created, "owned_by": "leviathan"}
