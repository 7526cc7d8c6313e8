"""What happens while an answer is generated, as a door's writer gets to see it."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Part(Enum):
    """Which part of the answer a piece of text belongs to."""

    CONTENT = "content"
    REASONING = "reasoning"


@dataclass(frozen=True)
class TextDelta:
    """More text of choice `index`; never empty."""

    index: int
    text: str
    part: Part = Part.CONTENT


@dataclass(frozen=True)
class ToolCallDelta:
    """More of call number `call` of choice `index`. The first one has `id` and `name`, the later ones `arguments`."""

    index: int
    call: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True)
class TokenLogprob:
    """A token as text and as bytes, the natural logarithm of its probability, and the likeliest tokens if asked for."""

    text: str
    raw: bytes
    logprob: float
    top: tuple["TokenLogprob", ...] = ()


@dataclass(frozen=True)
class LogprobDelta:
    """The next token of choice `index`, where log probabilities are asked for; it comes before its text."""

    index: int
    token: TokenLogprob


@dataclass(frozen=True)
class Finish:
    """Choice `index` has ended. `reason` is OpenAI's word: "stop", "length", "tool_calls".

    `timings` are llama.cpp's, so far; `stop` is the stop string that has come.
    """

    index: int
    reason: str
    timings: dict[str, Any] = field(default_factory=dict)
    stop: str = ""


@dataclass(frozen=True)
class PromptRead:
    """How much of the prompt of choice `index` has been read: `processed` of `total` tokens, `cached` known before.

    `milliseconds` since the turn began. It does not reach `write`, but `progress`, and only where it is asked for.
    """

    index: int
    total: int
    cached: int
    processed: int
    milliseconds: float


@dataclass(frozen=True)
class Working:
    """Nothing came for the time of a heartbeat (15 s). It does not reach the writer's `write`, but its `beat`."""


Written = TextDelta | ToolCallDelta | LogprobDelta | Finish
Event = Written | PromptRead | Working


@dataclass(frozen=True)
class Usage:
    """Tokens of a request: of its prompts, of all choices together, and of prompts those that were read before.

    `timings` are llama.cpp's.
    """

    prompt: int
    generated: int
    cached: int = 0
    timings: dict[str, Any] = field(default_factory=dict)


@dataclass
class ToolCall:
    """One call of an answer; `arguments` are the model's text, which ought to be JSON."""

    id: str
    name: str
    arguments: str = ""


@dataclass
class Choice:
    """One choice of an answer that is not streamed, put together from its events."""

    index: int
    content: str = ""
    reasoning: str = ""
    finish: str = ""
    stop: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    tokens: list[TokenLogprob] = field(default_factory=list)

    def add(self, event: Written) -> None:
        """Takes the next event of this choice."""
        if isinstance(event, Finish):
            self.finish, self.stop = event.reason, event.stop
        elif isinstance(event, ToolCallDelta):
            if event.name:
                self.calls.append(ToolCall(event.id, event.name))
            self.calls[event.call].arguments += event.arguments
        elif isinstance(event, LogprobDelta):
            self.tokens.append(event.token)
        elif event.part is Part.CONTENT:
            self.content += event.text
        else:
            self.reasoning += event.text
