"""The bodies of /api/chat and /api/generate, and their translation to bodies of OpenAI's API.

Fields: https://github.com/ollama/ollama/blob/main/docs/api.md. Unlike in other APIs, `stream` is true by default.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field

from ..api_error import bad
from ..generation.request import JsonObject
from ..openai.common_body import SEEDS, Repetition, Stops
from ..openai.tools import COMBINATION, Tools
from ..requests.field_rules import UNSUPPORTED, FieldRules
from ..requests.json_types import INTEGRAL, Body, Text
from ..requests.validation import validated

RULES = FieldRules(
    frozenset({"keep_alive", "user"}),
    {"images": ([],), "context": ([],), "logprobs": (False,), "top_logprobs": (0,), "template": ("",), "suffix": ("",)},
)
# Settings of Ollama's own engine: memory, threads, the context's size. Here the server decides them.
ENGINE_OPTIONS = frozenset(
    (
        "num_ctx",
        "num_batch",
        "num_gpu",
        "main_gpu",
        "num_thread",
        "num_keep",
        "numa",
        "low_vram",
        "use_mmap",
        "use_mlock",
    )
)
RENAMED = {"num_predict": "max_tokens", "repeat_penalty": "repetition_penalty"}
KEPT = ("temperature", "top_p", "top_k", "min_p", "typical_p", "seed", "stop", "presence_penalty", "frequency_penalty")
LATEST = ":latest"
Think = bool | Literal["low", "medium", "high", "max"]
B = TypeVar("B", bound="CommonBody")


class RunOptions(Body):
    """`options`: those of OpenAI's body, with their types, and those of ENGINE_OPTIONS. Others are refused."""

    model_config = ConfigDict(
        json_schema_extra=lambda schema: schema.update(
            properties=schema["properties"] | {name: {} for name in sorted(ENGINE_OPTIONS)},
            additionalProperties=False,
        )
    )
    num_predict: Annotated[int, Field(ge=-2, json_schema_extra={"not": {"const": 0}}), INTEGRAL] | None = None
    repeat_penalty: Repetition | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1), INTEGRAL] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    typical_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-SEEDS, lt=SEEDS), INTEGRAL] | None = None
    stop: Stops | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None


class CalledFunction(Body):
    """The function of a call; its arguments are an object, not a string."""

    name: Text
    arguments: dict[str, Any] = Field(default_factory=dict)


class Call(Body):
    """A call of a tool in an earlier answer."""

    function: CalledFunction
    id: Text | None = None


class Message(Body):
    """One message."""

    role: Literal["system", "user", "assistant", "tool"]
    content: Text = ""
    thinking: Text | None = None
    tool_calls: list[Call] | None = None
    tool_name: Text | None = None
    tool_call_id: Text | None = None
    images: Annotated[list[Any], Field(max_length=0)] | None = None


class CommonBody(Body):
    """The fields of both bodies."""

    model: Text
    stream: bool | None = None
    options: RunOptions | None = None
    format: Literal["", "json"] | dict[str, Any] | None = None
    think: Think | None = None

    @property
    def streams(self) -> bool:
        """Whether the answer is streamed."""
        return self.stream is not False


class ChatBody(CommonBody):
    """The body of /api/chat."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=4096)]
    tools: Tools | None = None


class GenerateBody(CommonBody):
    """The body of /api/generate."""

    prompt: Text = ""
    system: Text | None = None
    raw: bool | None = None


def read(kind: type[B], body: Mapping[str, Any], *, ignore_unknown: bool) -> B:
    """Checks a body. Errors: ApiError 400 that names the field."""
    asked = validated(kind, body)
    RULES.judge(asked, ignore_unknown=ignore_unknown)
    return asked


def as_chat(asked: ChatBody) -> JsonObject:
    """Translates a body of /api/chat to one of /v1/chat/completions."""
    chat = _common(asked) | {"messages": _messages(asked.messages)}
    if asked.tools:
        chat["tools"] = [tool.model_dump(exclude_none=True) for tool in asked.tools]
    return chat


def as_generation(asked: GenerateBody) -> JsonObject:
    """Translates a body of /api/generate to one of /v1/chat/completions, or with `raw` to one of /v1/completions.

    Errors: ApiError 400.
    """
    if asked.raw and not asked.prompt:
        raise bad("prompt is missing: raw: true needs it", "prompt", COMBINATION)
    if asked.raw and asked.think:
        raise bad("think has no effect with raw: true, which uses no chat template: leave it out", "think", COMBINATION)
    if asked.raw:
        return _common(asked.model_copy(update={"think": None})) | {"prompt": asked.prompt}
    system = [{"role": "system", "content": asked.system}] if asked.system else []
    return _common(asked) | {"messages": [*system, {"role": "user", "content": asked.prompt}]}


def _common(asked: CommonBody) -> JsonObject:
    out: JsonObject = {"model": asked.model, "stream": asked.streams}
    options = asked.options.model_dump(exclude_unset=True) if asked.options else {}
    for name, value in options.items():
        if name in KEPT or name in RENAMED:
            # Ollama's -2 means "until the context is full", which is -1 here.
            out[RENAMED.get(name, name)] = -1 if name == "num_predict" and value == -2 else value
        elif name not in ENGINE_OPTIONS and value is not None:
            raise bad(f"options.{name[:100]} is not supported by this server: leave it out", "options", UNSUPPORTED)
    if asked.format == "json":
        out["response_format"] = {"type": "json_object"}
    elif isinstance(asked.format, dict):
        out["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": asked.format}}
    if isinstance(asked.think, bool):
        out["thinking"] = asked.think
    elif asked.think is not None:
        out["reasoning_effort"] = asked.think
    return out


def _messages(messages: list[Message]) -> list[JsonObject]:
    """Translates messages. Ollama's calls have no ids, so calls are numbered, and results refer to them in order."""
    out: list[JsonObject] = []
    waiting: list[str] = []
    for place, message in enumerate(messages):
        one: JsonObject = {"role": message.role, "content": message.content}
        if message.thinking:
            one["reasoning_content"] = message.thinking
        if message.tool_calls:
            ids = [call.id or f"call_{place}_{i}" for i, call in enumerate(message.tool_calls)]
            waiting = list(ids)
            one["tool_calls"] = [_call(name, call) for name, call in zip(ids, message.tool_calls, strict=True)]
        if message.role == "tool":
            one["tool_call_id"] = message.tool_call_id or (waiting.pop(0) if waiting else f"call_{place}")
        out.append(one)
    return out


def _call(name: str, call: Call) -> JsonObject:
    arguments = json.dumps(call.function.arguments, ensure_ascii=False)
    return {"id": name, "type": "function", "function": {"name": call.function.name, "arguments": arguments}}
