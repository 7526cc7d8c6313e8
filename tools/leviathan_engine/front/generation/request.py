"""The internal request: what every API's body becomes, and all that the generation reads.

The contract for the adapter of an API (see adapter.py):

- An adapter reads a body and makes a `GenerationRequest`. It checks every value: types, ranges, Unicode. `run.py` later
  checks what needs the tokenizer (whether the prompt fits, whether ids are below the vocabulary), and raises an
  ApiError before the answer begins.
- `ChatPrompt.messages` are plain dictionaries in the form that chat templates of Hugging Face expect: `role` ("system",
  "user", "assistant", "tool"), `content` (a string, never a list of parts), and for tools `tool_calls` (each
  `{"id", "type": "function", "function": {"name", "arguments": a JSON string}}`) and `tool_call_id`. Further keys reach
  the template as they are.
- `None` in `Sampling` means the model's own default; in `Ending.max_tokens` as many tokens as fit.
- `ChatPrompt` is in model/rendered_chat.py: tools, thinking, effort, a forced call.
- The answer arrives as the events of events.py, and the adapter's `AnswerWriter` turns them into its format.
- New features add a field with a default that changes nothing, so that existing adapters need no change.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from leviathan_engine.model.rendered_chat import ChatPrompt

__all__ = [
    "UNSUPPORTED_GRAMMAR",
    "ChatPrompt",
    "Ending",
    "Form",
    "GenerationRequest",
    "JsonObject",
    "Prompt",
    "Reasoning",
    "Sampling",
    "TextPrompt",
    "TokenPrompt",
]
JsonObject = dict[str, Any]


@dataclass(frozen=True)
class TextPrompt:
    """Text that is tokenised as it is, after the model's first token.

    With a `suffix` the answer is the text between both, for models with fill-in-the-middle tokens.
    """

    text: str
    suffix: str = ""


@dataclass(frozen=True)
class TokenPrompt:
    """Token ids that are used as they are."""

    ids: tuple[int, ...]


Prompt = ChatPrompt | TextPrompt | TokenPrompt


@dataclass(frozen=True)
class Sampling:
    """How each token is chosen. `temperature` 0 takes the most likely token; `seed` None uses a random seed.

    worker/sampling_options.py describes the others. `logprobs` is the number of most likely tokens to report with each
    token; None: no log probabilities.
    """

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    top_k: int = 0
    min_p: float = 0.0
    typical_p: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: int | None = None


@dataclass(frozen=True)
class Ending:
    """When the answer ends: after `max_tokens` (lowered to what fits), or at a `stop` string, which is left out.

    It also ends at one of `stop_tokens`, and at the model's own end tokens unless `ignore_eos`, but not before
    `min_tokens`. A thought ends after `think_budget` tokens.
    """

    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    min_tokens: int = 0
    stop_tokens: tuple[int, ...] = ()
    ignore_eos: bool = False
    think_budget: int | None = None


# The error code of an unsupported answer format, or of unsupported arguments of a tool.
UNSUPPORTED_GRAMMAR = "unsupported_grammar"


@dataclass(frozen=True)
class Form:
    """The required format of the answer's text. `where` is the body's field, for messages.

    `kind`: "json", and `value` is a JSON schema; "regex"; "choice", one of a list of strings; "grammar", in Lark or
    GBNF.
    """

    kind: str
    value: Any
    where: str


class Reasoning(Enum):
    """What happens to thoughts in a chat's answer: returned separately, kept in the text with tags, or dropped."""

    APART = "apart"
    INSIDE = "inside"
    HIDDEN = "hidden"


@dataclass(frozen=True)
class GenerationRequest:
    """One request. Each prompt gets `n` choices, in the order of the prompts.

    `where` is the body's field with the prompt, for messages. `echo`: the answer starts with the prompt's text.
    `ignored`: names of unknown fields that were ignored, for the header x-leviathan-ignored. Tool calls are parsed if a
    `ChatPrompt` has tools; without `parallel_calls` the answer ends after the first one. `progress`: a stream reports
    the progress of the prompt. `form` is the required format of the answer's text. `best_of`, if above `n`: this many
    answers are generated for each prompt, and the `n` with the likeliest tokens on average are returned; no stream.
    `prompt_logprobs` is vLLM's: the number of most likely tokens to report with each token of the prompt.
    """

    prompts: tuple[Prompt, ...]
    where: str
    sampling: Sampling = Sampling()
    ending: Ending = Ending()
    n: int = 1
    stream: bool = False
    echo: bool = False
    ignored: tuple[str, ...] = ()
    reasoning: Reasoning = Reasoning.APART
    parallel_calls: bool = True
    progress: bool = False
    form: Form | None = None
    best_of: int = 0
    prompt_logprobs: int | None = None

    @property
    def drawn(self) -> int:
        """How many answers are generated to each prompt."""
        return max(self.n, self.best_of)

    @property
    def logprobs(self) -> int | None:
        """How many likeliest tokens the engine names with each token: `sampling.logprobs`, or what ranking needs."""
        return 0 if self.sampling.logprobs is None and self.drawn > self.n else self.sampling.logprobs

    @property
    def echo_logprobs(self) -> int | None:
        """How many most likely tokens come with each token of the echoed prompt; None: no log probabilities of it."""
        return self.sampling.logprobs if self.echo else None

    @property
    def named_prompt(self) -> int | None:
        """How many most likely tokens the engine names with each token of the prompt; None: it names none."""
        asked = [most for most in (self.echo_logprobs, self.prompt_logprobs) if most is not None]
        return max(asked, default=None)
