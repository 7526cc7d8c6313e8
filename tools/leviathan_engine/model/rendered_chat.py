"""The input and the output of rendering a chat with the chat template."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class ChatPrompt:
    """A chat that the model's chat template renders into the prompt.

    `messages` and `tools` are as in OpenAI's API, with contents as strings. `template_values` are more values for the
    template (`chat_template_kwargs`). `thinking` and `effort` say whether and how long to think, if the template has
    such a switch. `forced_call` makes the answer begin with a call of the named function, or of any function for "".
    `continues`: the last message is the beginning of the answer. Without `answers`, the prompt ends after the last
    message.
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
class RenderedChat:
    """The prompt's text. `thinking`: the text ends inside a thought, whose opening tag is `tag`.

    `closed`: the text ends right after a thought, which is empty if thinking is off. `opened` is the beginning of a
    forced call. `missing` has the names of options that the template does not support.
    """

    text: str
    thinking: bool = False
    tag: str = ""
    opened: str = ""
    missing: tuple[str, ...] = ()
    closed: bool = False
