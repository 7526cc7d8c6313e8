"""DeepSeek's formats of tool calls: their markers, which one a template uses, and the description of tools.

The templates of V3, R1 and V3.1 render calls and results, but not the tools themselves. If a template does not read
`tools`, the system message describes them: for V3.1 with the text of its model card ("ToolCall"), for the others with
the same text and their own format of a call.
"""

import json
from collections.abc import Sequence
from enum import Enum
from typing import Any

from .chat_template import ChatTemplate, TemplateRefusal

JsonObject = dict[str, Any]
CALLS_BEGIN, CALLS_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
CALL_BEGIN, CALL_END, SEP = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>"
# In the older format: the word before the separator, and the fence around the arguments.
TYPE, FENCE = "function", "```"
PROBE = "leviathan_probe"
RULES = """
Where:
- `tool_call_name` must be an exact match to one of the available tools
- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters Schema
- For multiple tool calls, chain them directly without separators or spaces
"""


class ToolFormat(Enum):
    """The format of a call: with a fence (V3, R1), or without (V3.1)."""

    FENCED = "fenced"
    PLAIN = "plain"

    def opening(self, name: str) -> str:
        """Returns the beginning of the first call: of the function `name`, or the text before the name for ""."""
        if self is ToolFormat.PLAIN:
            return CALLS_BEGIN + CALL_BEGIN + (name + SEP if name else "")
        return CALLS_BEGIN + CALL_BEGIN + TYPE + SEP + (f"{name}\n{FENCE}json\n" if name else "")

    def call(self, name: str, arguments: str) -> str:
        """Returns one call, without the markers around all calls."""
        if self is ToolFormat.PLAIN:
            return f"{CALL_BEGIN}{name}{SEP}{arguments}{CALL_END}"
        return f"{CALL_BEGIN}{TYPE}{SEP}{name}\n{FENCE}json\n{arguments}\n{FENCE}{CALL_END}"


def tool_format(template: ChatTemplate) -> ToolFormat | None:
    """Returns the format in which this template renders a call; None if it uses neither."""
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
    """Returns the section about tools for the system message."""
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
    """Returns the messages with the tools described in the first system message, which is added if missing."""
    section = describe(tools, form)
    for index, message in enumerate(messages):
        if message["role"] == "system":
            described = message | {"content": (message.get("content") or "") + section}
            return [*messages[:index], described, *messages[index + 1 :]]
    return [{"role": "system", "content": section.lstrip("\n")}, *messages]


def calls_apart(messages: Sequence[JsonObject]) -> list[JsonObject]:
    """Splits messages with text and calls into two, for templates that render only one of them (V3)."""
    out: list[JsonObject] = []
    for message in messages:
        if message.get("tool_calls") and message.get("content"):
            out.append({key: value for key, value in message.items() if key != "tool_calls"})
            out.append(message | {"content": None})
        else:
            out.append(message)
    return out


def keeps_calls(text: str, messages: Sequence[JsonObject]) -> bool:
    """Whether the rendered text contains every call of the messages."""
    calls = [call[TYPE] for message in messages for call in message.get("tool_calls") or []]
    return all(call["name"] in text and call["arguments"] in text for call in calls)
