"""The events while an answer is generated, which an adapter's writer turns into its format."""

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
    """More of call number `call` of choice `index`. The first event has `id` and `name`, later ones `arguments`."""

    index: int
    call: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True)
class TokenLogprob:
    """A token as text and as bytes, the natural logarithm of its probability, and the most likely tokens, if any."""

    text: str
    raw: bytes
    logprob: float
    top: tuple["TokenLogprob", ...] = ()


@dataclass(frozen=True)
class LogprobDelta:
    """The next token of choice `index`, if log probabilities are requested; it comes before the token's text."""

    index: int
    token: TokenLogprob


@dataclass(frozen=True, slots=True)
class PromptToken:
    """A token of the prompt: its id, its text, and the index of its first character in the echoed text.

    `logprob` and `rank` (1: the most likely token) are None and 0 for the first token. `top` are the most likely
    tokens: id, text, log probability.
    """

    id: int
    text: str
    place: int
    logprob: float | None = None
    rank: int = 0
    top: tuple[tuple[int, str, float], ...] = ()


@dataclass(frozen=True)
class PromptDelta:
    """The next tokens of the prompt of choice `index`, before its answer; `echo` is text that the answer repeats."""

    index: int
    echo: str
    tokens: tuple[PromptToken, ...]


@dataclass(frozen=True)
class Finish:
    """Choice `index` has ended. `reason` is OpenAI's finish_reason: "stop", "length", "tool_calls".

    `timings` are llama.cpp's; `stop` is the stop string that ended the answer.
    """

    index: int
    reason: str
    timings: dict[str, Any] = field(default_factory=dict)
    stop: str = ""


@dataclass(frozen=True)
class PromptRead:
    """How much of the prompt of choice `index` is read: `processed` of `total` tokens, `cached` from the prefix cache.

    `milliseconds` since the turn began. A writer gets it in `progress` instead of `write`, if the request asks for it.
    """

    index: int
    total: int
    cached: int
    processed: int
    milliseconds: float


@dataclass(frozen=True)
class Working:
    """No event arrived for the time of a heartbeat (15 s). A writer gets it in `beat` instead of `write`."""


Written = TextDelta | ToolCallDelta | LogprobDelta | PromptDelta | Finish
Event = Written | PromptRead | Working


@dataclass(frozen=True)
class Usage:
    """Tokens of a request: of its prompts, of all choices together, and of its prompts in the prefix cache.

    `timings` are llama.cpp's.
    """

    prompt: int
    generated: int
    cached: int = 0
    timings: dict[str, Any] = field(default_factory=dict)


@dataclass
class ToolCall:
    """One call of an answer; `arguments` is the text of the model, which should be JSON."""

    id: str
    name: str
    arguments: str = ""


@dataclass
class Choice:
    """One choice of an answer that is not streamed, assembled from its events.

    `prompt` are the tokens of its prompt, and `echoed` is the number of the content's characters that repeat it.
    """

    index: int
    content: str = ""
    reasoning: str = ""
    finish: str = ""
    stop: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    tokens: list[TokenLogprob] = field(default_factory=list)
    prompt: list[PromptToken] = field(default_factory=list)
    echoed: int = 0

    def add(self, event: Written) -> None:
        """Adds the next event of this choice."""
        if isinstance(event, Finish):
            self.finish, self.stop = event.reason, event.stop
        elif isinstance(event, ToolCallDelta):
            if event.name:
                self.calls.append(ToolCall(event.id, event.name))
            self.calls[event.call].arguments += event.arguments
        elif isinstance(event, LogprobDelta):
            self.tokens.append(event.token)
        elif isinstance(event, PromptDelta):
            self.prompt += event.tokens
            self.content += event.echo
            self.echoed += len(event.echo)
        elif event.part is Part.CONTENT:
            self.content += event.text
        else:
            self.reasoning += event.text
