"""Anthropic's answers: a message, the events of a stream, and errors in Anthropic's format."""

import uuid
from collections.abc import Sequence

from starlette.responses import Response

from ..api_error import ApiError
from ..generation.adapter import SSE
from ..generation.blocks import Block, Blocks, Closed, Kind, More, Opened, Step, blocks_of
from ..generation.events import Choice, Finish, PromptRead, Usage, Written
from ..generation.request import JsonObject
from ..json_response import dumps, json_object, json_response

REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}


class MessageWriter:
    """Writes one message."""

    media_type = SSE

    def __init__(self, model: str) -> None:
        """`model` is the name in the answer."""
        self._model = model
        self._id = f"msg_{uuid.uuid4().hex}"
        self._blocks = Blocks()
        self._begun = False

    def begin(self) -> str:
        """Returns message_start. The number of prompt tokens is not known yet; message_delta has it."""
        self._begun = True
        message = self._message([], None, Usage(0, 0))
        return _event("message_start", {"message": message})

    def write(self, event: Written) -> str:
        """Returns the events of content blocks."""
        return "".join(_step(step) for step in self._blocks.take(event))

    def progress(self, event: PromptRead) -> str:
        """Returns "", because the API has no such event."""
        return ""

    def beat(self, what: str) -> str:
        """Returns a ping, or a comment before message_start."""
        return _event("ping", {}) if self._begun else f": {what}\n\n"

    def end(self, usage: Usage) -> str:
        """Returns message_delta with the stop reason and the usage, and message_stop."""
        closing = "".join(_step(step) for step in self._blocks.close())
        delta = _ending(self._blocks.finish)
        last = _event("message_delta", {"delta": delta, "usage": _usage(usage)})
        return closing + last + _event("message_stop", {})

    def fail(self, err: ApiError) -> str:
        """Returns an error event."""
        return f"event: error\ndata: {dumps(error_body(err))}\n\n"

    def whole(self, choices: Sequence[Choice], usage: Usage) -> JsonObject:
        """Returns the message without streaming."""
        content = [_block(block, block.text) for block in blocks_of(choices[0])]
        return self._message(content, Finish(0, choices[0].finish, stop=choices[0].stop), usage)

    def _message(self, content: list[JsonObject], finish: Finish | None, usage: Usage) -> JsonObject:
        return {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": content,
            **(_ending(finish) if finish else {"stop_reason": None, "stop_sequence": None}),
            "usage": _usage(usage),
        }


def error_body(err: ApiError) -> JsonObject:
    """Returns the body of an error in Anthropic's format, with OpenAI's `param` and `code`."""
    kind = ERRORS.get(err.status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": err.message, "param": err.param, "code": err.code}}


def error_response(err: ApiError) -> Response:
    """Returns the response for an error."""
    return json_response(error_body(err), err.status, err.headers)


def _step(step: Step) -> str:
    index = step.block.index
    match step:
        case Opened(block):
            return _event("content_block_start", {"index": index, "content_block": _block(block, "")})
        case More(block, text):
            return _event("content_block_delta", {"index": index, "delta": _delta(block, text)})
        case Closed():
            return _event("content_block_stop", {"index": index})


def _delta(block: Block, text: str) -> JsonObject:
    match block.kind:
        case Kind.REASONING:
            return {"type": "thinking_delta", "thinking": text}
        case Kind.CONTENT:
            return {"type": "text_delta", "text": text}
        case Kind.CALL:
            return {"type": "input_json_delta", "partial_json": text}


def _block(block: Block, text: str) -> JsonObject:
    match block.kind:
        case Kind.REASONING:
            return {"type": "thinking", "thinking": text, "signature": ""}
        case Kind.CONTENT:
            return {"type": "text", "text": text}
        case Kind.CALL:
            return {"type": "tool_use", "id": block.id, "name": block.name, "input": json_object(text)}


def _usage(usage: Usage) -> JsonObject:
    """Returns Anthropic's usage, in which input tokens do not include cached tokens."""
    return {
        "input_tokens": usage.prompt - usage.cached,
        "output_tokens": usage.generated,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
    }


def _ending(finish: Finish) -> JsonObject:
    if finish.stop:
        return {"stop_reason": "stop_sequence", "stop_sequence": finish.stop}
    return {"stop_reason": REASONS.get(finish.reason, "end_turn"), "stop_sequence": None}


def _event(name: str, body: JsonObject) -> str:
    return f"event: {name}\ndata: {dumps({'type': name} | body)}\n\n"
