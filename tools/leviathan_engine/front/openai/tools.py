"""The tools of a chat: their definitions, and which of them the model may or must call."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from ..api_error import bad
from ..generation.request import JsonObject
from ..requests.json_types import Body, Text

MAX_TOOLS = 512
PATTERN = r"[A-Za-z0-9_.:/-]{1,128}"
# Error code of fields that are valid, but not in combination.
COMBINATION = "invalid_combination"


def _name(value: str) -> str:
    if not re.fullmatch(PATTERN, value):
        raise PydanticCustomError(
            "invalid_tool_name",
            "expected 1 to 128 letters, digits, or any of _ . : / -, got {got}",
            {"got": ascii(value)},
        )
    return value


Name = Annotated[Text, AfterValidator(_name), Field(json_schema_extra={"pattern": f"^{PATTERN}$"})]


class FunctionDefinition(Body):
    """A function that the model may call. `parameters` is a JSON schema."""

    name: Name
    description: Text | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolDefinition(Body):
    """A tool; only functions are supported."""

    type: Literal["function"]
    function: FunctionDefinition

    def for_template(self) -> JsonObject:
        """The dictionary that the template gets."""
        return self.model_dump(exclude_none=True)


Tools = Annotated[list[ToolDefinition], Field(max_length=MAX_TOOLS)]


class FunctionName(Body):
    """The name of a function."""

    name: Name


class NamedTool(Body):
    """The function that must be called."""

    type: Literal["function"]
    function: FunctionName


def _kind(value: Any) -> str | None:
    return "<word>" if isinstance(value, str) else "<named>" if isinstance(value, dict | Body) else None


# Distinguishes the two kinds of `tool_choice`; the format of a named function depends on the API.
WORD_OR_NAMED = Discriminator(
    _kind, custom_error_type="tool_choice", custom_error_message="expected none, auto, required or a function"
)
ToolWord = Annotated[Literal["none", "auto", "required"], Tag("<word>")]
ToolUse = Annotated[ToolWord | Annotated[NamedTool, Tag("<named>")], WORD_OR_NAMED]


def tool_use(
    tools: Sequence[ToolDefinition] | None, choice: Literal["none", "auto", "required"] | NamedTool | None
) -> tuple[tuple[JsonObject, ...], str | None]:
    """Returns the tools for the template, and the forced call: a name, "" for any, None for none.

    Errors: ApiError 400 for a choice that does not match the tools, and for two tools with the same name.
    """
    names = [tool.function.name for tool in tools or []]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise bad(f"tools[{index}].function.name: expected a unique name, got {name!r} again", "tools", COMBINATION)
    if choice == "none":
        return (), None
    forced = "" if choice == "required" else choice.function.name if isinstance(choice, NamedTool) else None
    if forced is not None and not names:
        raise bad("tool_choice requires a tool call, but tools is missing", "tool_choice", COMBINATION)
    if forced and forced not in names:
        raise bad(f"tool_choice: expected the name of one of the tools, got {forced!r}", "tool_choice", COMBINATION)
    if forced == "" and len(names) == 1:
        forced = names[0]
    return tuple(tool.for_template() for tool in tools or []), forced
