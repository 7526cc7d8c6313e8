"""The body of /v1/responses, and its translation to a chat of /v1/chat/completions.

Fields: https://platform.openai.com/docs/api-reference/responses. Responses are not stored, so references to earlier
responses are refused; clients send the earlier items instead, as with `store: false`.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from ..api_error import bad
from ..generation.request import JsonObject
from ..openai.chat_body import EFFORTS
from ..openai.tools import COMBINATION, WORD_OR_NAMED, Name, ToolWord
from ..requests.field_rules import UNSUPPORTED, FieldRules
from ..requests.json_types import INTEGRAL, Body, Options, Text
from ..requests.validation import validated

LET_THROUGH = (
    "metadata",
    "store",
    "include",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "stream_options",
)
RULES = FieldRules(
    frozenset((*LET_THROUGH, "max_tool_calls", "user", "safety_identifier")),
    {
        "previous_response_id": (),
        "conversation": (),
        "prompt": (),
        "background": (False,),
        "truncation": ("disabled",),
        "top_logprobs": (0,),
        "context_management": (),
        "text.verbosity": ("medium",),
    },
)
STATE = "this server stores no responses: send the earlier items as input"


class Part(Body):
    """A part of a message: input or output text."""

    type: Literal["input_text", "output_text", "text", "refusal"]
    text: Text = ""


def _content_kind(value: Any) -> str | None:
    return "<text>" if isinstance(value, str) else "<parts>" if isinstance(value, list) else None


Content = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[list[Part], Tag("<parts>")],
    Discriminator(
        _content_kind, custom_error_type="content", custom_error_message="expected a string or a list of text parts"
    ),
]


class MessageItem(Body):
    """A message."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Content


class CallItem(Body):
    """A call of a function in an earlier answer."""

    type: Literal["function_call"]
    call_id: Text
    name: Text
    arguments: Text


class ResultItem(Body):
    """The result of a function."""

    type: Literal["function_call_output"]
    call_id: Text
    output: Content


class ReasoningItem(Body):
    """An earlier answer's reasoning."""

    type: Literal["reasoning"]
    content: list[dict[str, Any]] | None = None


ITEMS = ("message", "function_call", "function_call_output", "reasoning")


def _item_kind(value: Any) -> str | None:
    kind = value.get("type", "message") if isinstance(value, dict) else getattr(value, "type", "message")
    return f"<{kind}>" if kind in ITEMS else None


Item = Annotated[
    Annotated[MessageItem, Tag("<message>")]
    | Annotated[CallItem, Tag("<function_call>")]
    | Annotated[ResultItem, Tag("<function_call_output>")]
    | Annotated[ReasoningItem, Tag("<reasoning>")],
    Discriminator(
        _item_kind, custom_error_type="item", custom_error_message=f"expected an item of type {', '.join(ITEMS)}"
    ),
]


def _input_kind(value: Any) -> str | None:
    return "<text>" if isinstance(value, str) else "<items>" if isinstance(value, list) else None


Input = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[list[Item], Field(min_length=1, max_length=4096), Tag("<items>")],
    Discriminator(_input_kind, custom_error_type="input", custom_error_message="expected a string or a list of items"),
]


class Tool(Body):
    """A function of the client; OpenAI's built-in tools are not supported."""

    type: Literal["function"]
    name: Name
    description: Text | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Format(Body):
    """The format of the answer's text."""

    type: Literal["text", "json_object", "json_schema"]
    name: Text | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = None


class TextOptions(Options):
    """`text`."""

    format: Format | None = None


class Reasoning(Options):
    """`reasoning`. There are no summaries: thoughts are returned as they are."""

    effort: EFFORTS | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None


class NamedTool(Options):
    """The function that must be called."""

    type: Literal["function"]
    name: Name


ToolUse = Annotated[ToolWord | Annotated[NamedTool, Tag("<named>")], WORD_OR_NAMED]


class ResponsesBody(Body):
    """The whole body."""

    model: Text
    input: Input
    instructions: Text | None = None
    tools: Annotated[list[Tool], Field(max_length=1024)] | None = None
    tool_choice: ToolUse | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: Annotated[int, Field(ge=1), INTEGRAL] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    stream: bool | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None


def read(body: Mapping[str, Any], *, ignore_unknown: bool) -> ResponsesBody:
    """Checks a body. Errors: ApiError 400 that names the field."""
    asked = validated(ResponsesBody, body)
    for name in ("previous_response_id", "conversation"):
        if body.get(name) is not None:
            raise bad(f"{name}: {STATE}", name, UNSUPPORTED)
    RULES.judge(asked, ignore_unknown=ignore_unknown)
    return asked


def as_chat(asked: ResponsesBody) -> JsonObject:
    """Translates a body to one of /v1/chat/completions."""
    messages = list(_messages(asked))
    if not messages:
        raise bad("input: expected at least one item with content", "input", COMBINATION)
    chat: JsonObject = {"model": asked.model, "messages": messages}
    plain = ("stream", "temperature", "top_p")
    chat |= {name: getattr(asked, name) for name in plain if getattr(asked, name) is not None}
    if asked.max_output_tokens is not None:
        chat["max_tokens"] = asked.max_output_tokens
    if asked.tools:
        chat["tools"] = [{"type": "function", "function": _function(tool)} for tool in asked.tools]
        chat |= _tool_choice(asked)
    if asked.reasoning is not None and asked.reasoning.effort is not None:
        chat["reasoning_effort"] = asked.reasoning.effort
    if (form := asked.text and asked.text.format) and form.type != "text":
        chat["response_format"] = _response_format(form)
    return chat


def _messages(asked: ResponsesBody) -> Iterator[JsonObject]:
    if asked.instructions:
        yield {"role": "system", "content": asked.instructions}
    if isinstance(asked.input, str):
        yield {"role": "user", "content": asked.input}
        return
    answer: JsonObject | None = None  # the calls of one turn belong to one message
    for item in asked.input:
        if isinstance(item, CallItem):
            answer = answer or {"role": "assistant", "content": ""}
            function = {"name": item.name, "arguments": item.arguments}
            answer.setdefault("tool_calls", []).append({"id": item.call_id, "type": "function", "function": function})
            continue
        if isinstance(item, ReasoningItem):
            continue
        if answer is not None:
            yield answer
            answer = None
        if isinstance(item, ResultItem):
            yield {"role": "tool", "tool_call_id": item.call_id, "content": _joined(item.output)}
        elif item.role == "assistant":
            answer = {"role": "assistant", "content": _joined(item.content)}
        else:
            yield {"role": item.role, "content": _joined(item.content)}
    if answer is not None:
        yield answer


def _function(tool: Tool) -> JsonObject:
    given = {"name": tool.name, "description": tool.description, "parameters": tool.parameters, "strict": tool.strict}
    return {name: value for name, value in given.items() if value is not None}


def _tool_choice(asked: ResponsesBody) -> JsonObject:
    out: JsonObject = {}
    choice = asked.tool_choice
    if isinstance(choice, NamedTool):
        out["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice is not None:
        out["tool_choice"] = choice
    if asked.parallel_tool_calls is not None:
        out["parallel_tool_calls"] = asked.parallel_tool_calls
    return out


def _response_format(form: Format) -> JsonObject:
    if form.type == "json_object":
        return {"type": "json_object"}
    schema = {"name": form.name or "answer", "schema": form.schema_ or {}, "strict": form.strict}
    return {"type": "json_schema", "json_schema": {name: value for name, value in schema.items() if value is not None}}


def _joined(content: str | list[Part]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)
