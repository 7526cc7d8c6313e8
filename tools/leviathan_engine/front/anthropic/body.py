"""The body of /v1/messages, and its translation to a chat of OpenAI's API.

Fields: https://docs.anthropic.com/en/api/messages. Images, documents and server tools are refused, with an error that
names the field.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from ..api_error import bad
from ..generation.request import JsonObject
from ..openai.chat_body import EFFORTS
from ..openai.common_body import MAX_STOPS, Stop
from ..openai.tools import COMBINATION, Name
from ..requests.field_rules import FieldRules
from ..requests.json_types import INTEGRAL, Body, Options, Text
from ..requests.validation import validated

RULES = FieldRules(
    frozenset(
        {
            *("metadata", "service_tier", "cache_control", "inference_geo", "user"),
            *("speed", "diagnostics", "user_profile_id", "workspace_id"),
        }
    ),
    {"container": (), "context_management": (), "mcp_servers": ([],)},
)


class TextBlock(Body):
    """Text."""

    type: Literal["text"]
    text: Text


class ThinkingBlock(Body):
    """An earlier answer's reasoning; the signature is ignored."""

    type: Literal["thinking"]
    thinking: Text


class RedactedBlock(Body):
    """Encrypted reasoning, which is left out."""

    type: Literal["redacted_thinking"]


class ToolUseBlock(Body):
    """A call of a tool in an earlier answer."""

    type: Literal["tool_use"]
    id: Text
    name: Text
    input: dict[str, Any]


class ToolResultBlock(Body):
    """The result of a tool."""

    type: Literal["tool_result"]
    tool_use_id: Text
    content: Text | list[TextBlock] | None = None
    is_error: bool | None = None

    def text(self) -> str:
        """Returns the result as one string."""
        return _joined(self.content)


Block = Annotated[
    TextBlock | ThinkingBlock | RedactedBlock | ToolUseBlock | ToolResultBlock, Field(discriminator="type")
]


def _kind(value: Any) -> str | None:
    return "<text>" if isinstance(value, str) else "<blocks>" if isinstance(value, list) else None


Content = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[list[Block], Tag("<blocks>")],
    Discriminator(_kind, custom_error_type="content", custom_error_message="expected a string or a list of blocks"),
]
System = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[list[TextBlock], Tag("<blocks>")],
    Discriminator(_kind, custom_error_type="system", custom_error_message="expected a string or a list of text blocks"),
]


class Message(Body):
    """One turn."""

    role: Literal["user", "assistant", "system"]
    content: Content


class Tool(Body):
    """A tool of the client."""

    name: Name
    description: Text | None = None
    input_schema: dict[str, Any]
    strict: bool | None = None
    type: Literal["custom"] | None = None


class ToolChoice(Options):
    """Whether the model must call a tool, and which one."""

    type: Literal["auto", "any", "tool", "none"]
    name: Text | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Options):
    """Whether the model should reason first; `budget_tokens` limits its reasoning."""

    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: Annotated[int, Field(ge=1), INTEGRAL] | None = None


class OutputFormat(Body):
    """The format of the answer's text."""

    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(Options):
    """The reasoning effort, and the format of the answer."""

    effort: EFFORTS | None = None
    format: OutputFormat | None = None


class CountBody(Body):
    """The body of count_tokens."""

    model: Text
    messages: Annotated[list[Message], Field(min_length=1, max_length=4096)]
    system: System | None = None
    tools: Annotated[list[Tool], Field(max_length=1024)] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None


class MessagesBody(CountBody):
    """The body of /v1/messages."""

    max_tokens: Annotated[int, Field(ge=1), INTEGRAL]
    stop_sequences: Annotated[list[Stop], Field(max_length=MAX_STOPS)] | None = None
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0), INTEGRAL] | None = None


def read(kind: type[CountBody], body: Mapping[str, Any], *, ignore_unknown: bool) -> CountBody:
    """Checks a body. Errors: ApiError 400 that names the field."""
    asked = validated(kind, body)
    RULES.judge(asked, ignore_unknown=ignore_unknown)
    return asked


def as_chat(asked: CountBody) -> JsonObject:
    """Translates a body to one of /v1/chat/completions."""
    messages = list(_messages(asked))
    if not messages:
        raise bad("messages: expected at least one message with content", "messages", COMBINATION)
    chat: JsonObject = {"model": asked.model, "messages": messages}
    if asked.tools:
        chat["tools"] = [_tool(tool) for tool in asked.tools]
    if asked.tool_choice is not None and asked.tools:
        chat |= _tool_choice(asked.tool_choice)
    if asked.thinking is not None:
        kind = asked.thinking.type
        chat["thinking"] = {"type": "adaptive" if kind == "between_tools" else kind}
        if asked.thinking.budget_tokens is not None and kind == "enabled":
            chat["thinking_budget"] = asked.thinking.budget_tokens
    if asked.output_config is not None:
        chat |= _output(asked.output_config)
    if isinstance(asked, MessagesBody):
        plain = ("max_tokens", "stream", "temperature", "top_p", "top_k")
        chat |= {name: getattr(asked, name) for name in plain if getattr(asked, name) is not None}
        if asked.stop_sequences:
            chat["stop"] = asked.stop_sequences
    return chat


def _messages(asked: CountBody) -> Iterator[JsonObject]:
    if asked.system:
        yield {"role": "system", "content": _joined(asked.system)}
    for message in asked.messages:
        if isinstance(message.content, str):
            yield {"role": message.role, "content": message.content}
        elif message.role == "assistant":
            yield _assistant(message.content)
        else:
            yield from _user(message.role, message.content)


def _assistant(blocks: list[Any]) -> JsonObject:
    out: JsonObject = {"role": "assistant", "content": _joined(blocks)}
    if thoughts := "".join(block.thinking for block in blocks if isinstance(block, ThinkingBlock)):
        out["reasoning_content"] = thoughts
    if calls := [_call(block) for block in blocks if isinstance(block, ToolUseBlock)]:
        out["tool_calls"] = calls
    return out


def _user(role: str, blocks: list[Any]) -> Iterator[JsonObject]:
    """Yields the results of tools first, because they answer the model's calls, then the text."""
    for block in blocks:
        if isinstance(block, ToolResultBlock):
            yield {"role": "tool", "tool_call_id": block.tool_use_id, "content": block.text()}
    texts = [block for block in blocks if isinstance(block, TextBlock)]
    if texts or not blocks:
        yield {"role": role, "content": _joined(texts)}


def _call(block: ToolUseBlock) -> JsonObject:
    arguments = json.dumps(block.input, ensure_ascii=False)
    return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": arguments}}


def _tool(tool: Tool) -> JsonObject:
    function: JsonObject = {"name": tool.name, "parameters": tool.input_schema}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice) -> JsonObject:
    words = {"auto": "auto", "any": "required", "none": "none"}
    named = {"type": "function", "function": {"name": choice.name or ""}}
    out: JsonObject = {"tool_choice": words.get(choice.type, named)}
    if choice.disable_parallel_tool_use:
        out["parallel_tool_calls"] = False
    return out


def _output(config: OutputConfig) -> JsonObject:
    out: JsonObject = {} if config.effort is None else {"reasoning_effort": config.effort}
    if config.format is not None:
        schema = {"name": "answer", "schema": config.format.schema_}
        out["response_format"] = {"type": "json_schema", "json_schema": schema}
    return out


def _joined(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(block.text for block in content or () if isinstance(block, TextBlock))
