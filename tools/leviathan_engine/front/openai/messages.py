"""The messages of a chat, and their conversion for the chat template."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from ..generation.request import JsonObject
from ..requests.json_types import Body, Text

MAX_MESSAGES = 4096
ASSISTANT, OTHERS = "assistant", ("developer", "system", "tool", "user")
# Keys that OpenAI's clients send back with an earlier answer, and that no template reads.
NOT_FOR_TEMPLATES = frozenset({"refusal", "annotations", "audio"})


class TextPart(Body):
    """A part of a message's content. The model only reads text."""

    type: Literal["text"]
    text: Text


def _content_kind(value: Any) -> str | None:
    return "<text>" if isinstance(value, str) else "<parts>" if isinstance(value, list) else None


Content = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[list[TextPart], Tag("<parts>")],
    Discriminator(
        _content_kind,
        custom_error_type="content",
        custom_error_message="expected a string or a list of parts of type text",
    ),
]


class CalledFunction(Body):
    """The function of an earlier call; `arguments` is the JSON text that the model wrote."""

    name: Text
    arguments: Text = ""


class EarlierCall(Body):
    """A call in an earlier answer."""

    id: Text | None = None
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(Body):
    """The common fields of all roles. Undeclared keys are passed to the chat template."""

    function_call: None = None

    def content_text(self) -> str:
        """Returns the content as one string."""
        content: str | list[TextPart] | None = getattr(self, "content", None)
        return "".join(part.text for part in content) if isinstance(content, list) else content or ""

    def for_template(self) -> JsonObject:
        """The dictionary that the template gets."""
        kept = {key: value for key, value in (self.model_extra or {}).items() if key not in NOT_FOR_TEMPLATES}
        # "developer" is OpenAI's newer name for "system"; chat templates only know the older one.
        role = getattr(self, "role", "user")
        return {**kept, "role": "system" if role == "developer" else role, "content": self.content_text()}


class AskingMessage(Message):
    """A message to the model, or the result of a tool."""

    role: Literal["developer", "system", "user", "tool"]
    content: Content
    tool_call_id: Text | None = None

    def for_template(self) -> JsonObject:
        """The dictionary that the template gets."""
        call = {} if self.tool_call_id is None else {"tool_call_id": self.tool_call_id}
        return super().for_template() | call


class AssistantMessage(Message):
    """An earlier answer."""

    role: Literal["assistant"]
    content: Content | None = None
    tool_calls: list[EarlierCall] | None = None

    def for_template(self) -> JsonObject:
        """Returns the dictionary for the template; content is None next to calls, as templates expect."""
        message = super().for_template()
        if not self.tool_calls:
            return message
        calls = [call.model_dump(exclude_none=True) for call in self.tool_calls]
        return message | {"content": message["content"] or None, "tool_calls": calls}


def _role(value: Any) -> str | None:
    role = value.get("role", "user") if isinstance(value, dict) else getattr(value, "role", "user")
    return "<assistant>" if role == ASSISTANT else "<asking>" if role in OTHERS else None


AnyMessage = Annotated[
    Annotated[AskingMessage, Tag("<asking>")] | Annotated[AssistantMessage, Tag("<assistant>")],
    Discriminator(
        _role,
        custom_error_type="role",
        custom_error_message=f"expected a role of {', '.join(sorted((*OTHERS, ASSISTANT)))}",
    ),
]
Messages = Annotated[list[AnyMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
