"""The internal request: what every API's body becomes, and all that the generation reads.

The contract for an API ("door", see door.py):

- A door reads a body and makes a `GenerationRequest`. Every value in it is checked: types, ranges, Unicode. What needs
  the tokenizer (does the prompt fit, are the ids below the vocabulary) is checked later by `run.py`, as an ApiError
  before the answer begins.
- `ChatPrompt.messages` are plain dictionaries in the form that chat templates of Hugging Face expect: `role` ("system",
  "user", "assistant", "tool"), `content` (a string, never a list of parts), and for tools `tool_calls` (each
  `{"id", "type": "function", "function": {"name", "arguments": a JSON string}}`) and `tool_call_id`. Further keys reach
  the template as they are.
- `None` in `Sampling` means the model's own default; in `Ending.max_tokens` as many tokens as there is room for.
- The answer comes as the events of events.py, and the door's `AnswerWriter` turns them into its format.
- New features add a field with a default that changes nothing, so that doors need not know it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class ChatPrompt:
    """A talk that the model's chat template turns into the prompt.

    `template_values` are further values for the template (`chat_template_kwargs`), such as V3.1's `thinking`.
    """

    messages: tuple[JsonObject, ...]
    tools: tuple[JsonObject, ...] = ()
    template_values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TextPrompt:
    """Text that is tokenised as it stands, with the model's first token before it."""

    text: str


@dataclass(frozen=True)
class TokenPrompt:
    """Token ids that are taken as they are."""

    ids: tuple[int, ...]


Prompt = ChatPrompt | TextPrompt | TokenPrompt


@dataclass(frozen=True)
class Sampling:
    """How each token is chosen. `temperature` 0 takes the likeliest token; `seed` None draws another one each time."""

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Ending:
    """When the answer ends: `max_tokens` (above the room: clamped), or a `stop` string, which is not given out."""

    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class GenerationRequest:
    """One request. Several prompts give several choices, in this order.

    `where` is the body's field that holds the prompt, for messages about it. `echo`: the prompt's text comes first.
    `ignored`: names of unknown fields that were let through, for the header x-leviathan-ignored.
    """

    prompts: tuple[Prompt, ...]
    where: str
    sampling: Sampling = Sampling()
    ending: Ending = Ending()
    stream: bool = False
    echo: bool = False
    ignored: tuple[str, ...] = ()
