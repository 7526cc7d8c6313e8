"""A chat on its way to the chat template."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class ChatPrompt:
    """A talk that the model's chat template turns into the prompt.

    `messages` and `tools` are in the form of OpenAI's API, with contents as strings. `template_values` are further
    values for the template (`chat_template_kwargs`). `thinking` and `effort` say whether and how long to think, where
    the template can be told. `forced_call` makes the answer begin with a call: of the named function, or of any for "".
    `continues`: the last message is the answer's beginning. Without `answers` the talk ends after its last message.
    """

    messages: tuple[JsonObject, ...]
    tools: tuple[JsonObject, ...] = ()
    template_values: Mapping[str, Any] = field(default_factory=dict)
    thinking: bool | None = None
    effort: str | None = None
    forced_call: str | None = None
    continues: bool = False
    answers: bool = True


@dataclass(frozen=True)
class RenderedTalk:
    """The prompt's text. `thinking`: it ends inside of a thought, whose opening is `tag`.

    `closed`: it ends right after one, which is empty where thinking is off. `opened` is the beginning of a forced call.
    `missing` names the wishes that the template cannot take.
    """

    text: str
    thinking: bool = False
    tag: str = ""
    opened: str = ""
    missing: tuple[str, ...] = ()
    closed: bool = False
