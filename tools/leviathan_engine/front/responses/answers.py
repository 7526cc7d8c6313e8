"""The response object, and the events of its stream."""

import time
import uuid
from collections.abc import Sequence

from ..api_error import ApiError
from ..generation.adapter import SSE
from ..generation.blocks import Block, Blocks, Closed, Kind, More, Opened, Step, blocks_of
from ..generation.events import Choice, PromptRead, Usage, Written
from ..generation.request import JsonObject
from ..json_response import dumps
from .body import NamedTool, ResponsesBody

PREFIXES = {Kind.REASONING: "rs", Kind.CONTENT: "msg", Kind.CALL: "fc"}


class ResponseWriter:
    """Writes one response."""

    media_type = SSE

    def __init__(self, asked: ResponsesBody, model: str) -> None:
        """`asked` is repeated in the response, as OpenAI does; `model` is the name in the response."""
        self._id = f"resp_{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._asked, self._model = asked, model
        self._blocks = Blocks()
        self._number = -1

    def begin(self) -> str:
        """Returns response.created and response.in_progress."""
        body = {"response": self._response("in_progress", [], None)}
        return self._event("response.created", body) + self._event("response.in_progress", body)

    def write(self, event: Written) -> str:
        """Returns the events of items and their parts."""
        return "".join(self._step(step) for step in self._blocks.take(event))

    def progress(self, event: PromptRead) -> str:
        """Returns "", because the API has no such event."""
        return ""

    def beat(self, what: str) -> str:
        """Returns a comment."""
        return f": {what}\n\n"

    def end(self, usage: Usage) -> str:
        """Returns response.completed, or response.incomplete if the token limit is reached."""
        closing = "".join(self._step(step) for step in self._blocks.close())
        response = self._finished(self._blocks.complete, self._blocks.finish.reason, usage)
        return closing + self._event(f"response.{response['status']}", {"response": response})

    def fail(self, err: ApiError) -> str:
        """Returns response.failed."""
        failed = self._response("failed", [_item(self._id, block) for block in self._blocks.complete], None)
        failed["error"] = {"code": err.code or "server_error", "message": err.message}
        return self._event("response.failed", {"response": failed})

    def whole(self, choices: Sequence[Choice], usage: Usage) -> JsonObject:
        """Returns the response without streaming."""
        return self._finished(blocks_of(choices[0]), choices[0].finish, usage)

    def _finished(self, blocks: Sequence[Block], reason: str, usage: Usage) -> JsonObject:
        cut = reason == "length"
        output = [_item(self._id, block) for block in blocks]
        response = self._response("incomplete" if cut else "completed", output, usage)
        response["incomplete_details"] = {"reason": "max_output_tokens"} if cut else None
        return response

    def _response(self, status: str, output: list[JsonObject], usage: Usage | None) -> JsonObject:
        asked, choice = self._asked, self._asked.tool_choice
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": asked.instructions,
            "max_output_tokens": asked.max_output_tokens,
            "model": self._model,
            "output": output,
            "parallel_tool_calls": asked.parallel_tool_calls is not False,
            "previous_response_id": None,
            "reasoning": {"effort": asked.reasoning.effort if asked.reasoning else None, "summary": None},
            "store": False,
            "temperature": asked.temperature,
            "text": {"format": _dumped(asked.text.format if asked.text else None) or {"type": "text"}},
            "tool_choice": _dumped(choice) if isinstance(choice, NamedTool) else choice or "auto",
            "tools": [_dumped(tool) for tool in asked.tools or ()],
            "top_p": asked.top_p,
            "truncation": "disabled",
            "usage": None if usage is None else self._usage(usage),
            "metadata": (asked.model_extra or {}).get("metadata") or {},
        }

    def _usage(self, usage: Usage) -> JsonObject:
        return {
            "input_tokens": usage.prompt,
            "input_tokens_details": {"cached_tokens": usage.cached},
            "output_tokens": usage.generated,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.prompt + usage.generated,
        }

    def _step(self, step: Step) -> str:
        block = step.block
        place: JsonObject = {"item_id": _item_id(self._id, block), "output_index": block.index}
        steps = self._call_step if block.kind is Kind.CALL else self._text_step
        match step:
            case Opened():
                item = _item(self._id, block, status="in_progress")
                if block.kind is not Kind.CALL:
                    item["content"] = []
                opened = self._event("response.output_item.added", {"output_index": block.index, "item": item})
                return opened + steps(step, place)
            case More():
                return steps(step, place)
            case Closed():
                item = {"output_index": block.index, "item": _item(self._id, block)}
                return steps(step, place) + self._event("response.output_item.done", item)

    def _call_step(self, step: Step, place: JsonObject) -> str:
        name = "response.function_call_arguments"
        match step:
            case Opened():
                return ""
            case More(_, text):
                return self._event(f"{name}.delta", place | {"delta": text})
            case Closed(block):
                return self._event(f"{name}.done", place | {"name": block.name, "arguments": block.text})

    def _text_step(self, step: Step, place: JsonObject) -> str:
        block, place = step.block, place | {"content_index": 0}
        thought = block.kind is Kind.REASONING
        name = "response.reasoning_text" if thought else "response.output_text"
        extra: JsonObject = {} if thought else {"logprobs": []}
        match step:
            case Opened():
                return self._event("response.content_part.added", place | {"part": _part(block, "")})
            case More(_, text):
                return self._event(f"{name}.delta", place | {"delta": text} | extra)
            case Closed():
                done = self._event(f"{name}.done", place | {"text": block.text} | extra)
                return done + self._event("response.content_part.done", place | {"part": _part(block, block.text)})

    def _event(self, name: str, body: JsonObject) -> str:
        self._number += 1
        return f"event: {name}\ndata: {dumps({'type': name, 'sequence_number': self._number} | body)}\n\n"


def _item_id(response_id: str, block: Block) -> str:
    return f"{PREFIXES[block.kind]}_{response_id.removeprefix('resp_')}{block.index}"


def _item(response_id: str, block: Block, status: str = "completed") -> JsonObject:
    head: JsonObject = {"id": _item_id(response_id, block), "status": status}
    match block.kind:
        case Kind.REASONING:
            return head | {"type": "reasoning", "summary": [], "content": [_part(block, block.text)]}
        case Kind.CONTENT:
            return head | {"type": "message", "role": "assistant", "content": [_part(block, block.text)]}
        case Kind.CALL:
            called = {"call_id": block.id, "name": block.name, "arguments": block.text}
            return head | {"type": "function_call"} | called


def _part(block: Block, text: str) -> JsonObject:
    if block.kind is Kind.REASONING:
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _dumped(value: object) -> JsonObject:
    dump = getattr(value, "model_dump", None)
    return dump(by_alias=True, exclude_none=True) if dump else {}
