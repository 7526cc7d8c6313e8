"""DeepSeek's forms of tool calls: their markers, which one a template uses, and how tools are described to a model.

The templates of V3, R1 and V3.1 render calls and results and leave out the tools themselves. Where a template does not
read `tools`, they are described in the system message: for V3.1 in the words of its model card ("ToolCall"), for the
others in the same words with their own form of a call.
"""

import json
from collections.abc import Sequence
from enum import Enum
from typing import Any

from .chat_template import ChatTemplate, TemplateRefusal

JsonObject = dict[str, Any]
CALLS_BEGIN, CALLS_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
CALL_BEGIN, CALL_END, SEP = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"
# The word before the separator in the older format, and the fence around its arguments.
TYPE, FENCE = "function", "```"
PROBE = "leviathan_probe"
RULES = """
Where:
- `tool_call_name` must be an exact match to one of the available tools
- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema
- For multiple tool calls, chain them directly without separators or spaces
"""


class ToolFormat(Enum):
    """The form of a call: with a fence (V3, R1), or without (V3.1)."""

    FENCED = "fenced"
    PLAIN = "plain"

    def opening(self, name: str) -> str:
        """The beginning of the first call: of the function `name`, or up to where the name comes for ""."""
        if self is ToolFormat.PLAIN:
            return CALLS_BEGIN + CALL_BEGIN + (name + SEP if name else "")
        return CALLS_BEGIN + CALL_BEGIN + TYPE + SEP + (f"{name}\n{FENCE}json\n" if name else "")

    def call(self, name: str, arguments: str) -> str:
        """One call, without the markers of all of them."""
        if self is ToolFormat.PLAIN:
            return f"{CALL_BEGIN}{name}{SEP}{arguments}{CALL_END}"
        return f"{CALL_BEGIN}{TYPE}{SEP}{name}\n{FENCE}json\n{arguments}\n{FENCE}{CALL_END}"


def tool_format(template: ChatTemplate) -> ToolFormat | None:
    """The form in which this template renders a call; None where it renders none of the two."""
    call = {"id": "call_0", "type": TYPE, TYPE: {"name": PROBE, "arguments": "{}"}}
    talk: list[JsonObject] = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
    ]
    try:
        text = template.render(talk, generation_prompt=False)
    except TemplateRefusal:
        return None
    return next((form for form in ToolFormat if form.call(PROBE, "{}") in text), None)


def describe(tools: Sequence[JsonObject], form: ToolFormat) -> str:
    """The section on tools for the system message."""
    one = form.call("tool_call_name", "tool_call_arguments")
    parts = ["\n\n## Tools\nYou have access to the following tools:\n"]
    for tool in tools:
        function = tool[TYPE]
        parameters = json.dumps(function.get("parameters") or {}, ensure_ascii=False)
        parts.append(
            f"\n### {function['name']}\nDescription: {function.get('description') or ''}\n\nParameters: {parameters}\n"
        )
    parts.append("\nIMPORTANT: ALWAYS adhere to this exact format for tool use:\n")
    parts.append(f"{CALLS_BEGIN}{one}{{{{additional_tool_calls}}}}{CALLS_END}\n")
    return "".join(parts) + RULES


def with_tools(messages: Sequence[JsonObject], tools: Sequence[JsonObject], form: ToolFormat) -> list[JsonObject]:
    """The talk with the tools described in its first system message, which is added where there is none."""
    section = describe(tools, form)
    for index, message in enumerate(messages):
        if message["role"] == "system":
            described = message | {"content": (message.get("content") or "") + section}
            return [*messages[:index], described, *messages[index + 1 :]]
    return [{"role": "system", "content": section.lstrip("\n")}, *messages]


def calls_apart(messages: Sequence[JsonObject]) -> list[JsonObject]:
    """The talk with text and calls of one message in two, for templates that render only one of them (V3)."""
    out: list[JsonObject] = []
    for message in messages:
        if message.get("tool_calls") and message.get("content"):
            out.append({key: value for key, value in message.items() if key != "tool_calls"})
            out.append(message | {"content": None})
        else:
            out.append(message)
    return out


def keeps_calls(text: str, messages: Sequence[JsonObject]) -> bool:
    """Whether every call of the talk is in its rendered text."""
    calls = [call[TYPE] for message in messages for call in message.get("tool_calls") or []]
    return all(call["name"] in text and call["arguments"] in text for call in calls)
