"""The body of /v1/completions."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from ..api_error import bad
from ..generation.request import GenerationRequest, Prompt, TextPrompt, TokenPrompt
from ..requests.json_types import CONTEXT, INTEGRAL, Text, TokenId
from ..served import Served
from .answers import OpenAiWriter
from .common_body import MAX_CHOICES, CommonBody, Logprobs
from .reading import checked
from .rules import COMPLETION
from .tools import COMBINATION

# OpenAI's own default for a completion.
DEFAULT_TOKENS = 16
MAX_PROMPTS = 128
PromptText = Annotated[Text, Field(min_length=1)]
PromptIds = Annotated[list[TokenId], Field(min_length=1, json_schema_extra={CONTEXT: True})]


def _kind(value: Any) -> str | None:
    if isinstance(value, str):
        return "<text>"
    if not isinstance(value, list):
        return None
    inner = value[0] if value else None
    return "<texts>" if isinstance(inner, str) else "<lists>" if isinstance(inner, list) else "<ids>"


AnyPrompt = Annotated[
    Annotated[PromptText, Tag("<text>")]
    | Annotated[PromptIds, Tag("<ids>")]
    | Annotated[list[PromptText], Field(min_length=1, max_length=MAX_PROMPTS), Tag("<texts>")]
    | Annotated[list[PromptIds], Field(min_length=1, max_length=MAX_PROMPTS), Tag("<lists>")],
    Discriminator(
        _kind,
        custom_error_type="prompt",
        custom_error_message="expected a string, a list of token ids, or a list of either",
    ),
]


class CompletionBody(CommonBody):
    """Text or token ids to continue."""

    prompt: AnyPrompt
    logprobs: Logprobs | None = Field(
        None, description="log probabilities, and this number of most likely tokens; not with echo"
    )
    best_of: Annotated[int, Field(ge=1, le=MAX_CHOICES), INTEGRAL] | None = Field(
        None, description="answers to generate, of which the n likeliest are returned; at least n, not with stream"
    )
    suffix: Text | None = Field(None, description="text after the answer; needs a prompt of text")
    echo: bool | None = Field(None, description="return the prompt's text before the answer")

    def named_logprobs(self) -> int | None:
        """Returns the number of most likely tokens to report with each token; None: no log probabilities."""
        if self.logprobs is not None and self.echo:
            raise bad("logprobs is not supported together with echo: leave one out", "logprobs", COMBINATION)
        return self.logprobs

    def drawn(self) -> int:
        """How many answers are generated to each prompt."""
        n = self.n or 1
        if self.best_of is not None and self.best_of < n:
            raise bad(f"best_of: expected at least n ({n}), got {self.best_of}", "best_of", COMBINATION)
        if (self.best_of or n) > n and self.stream:
            raise bad("best_of above n is not supported with stream: all answers come first", "best_of", COMBINATION)
        return self.best_of or n

    def prompts(self) -> tuple[Prompt, ...]:
        """Returns the prompt, or all prompts of a list."""
        if isinstance(self.prompt, str):
            return (TextPrompt(self.prompt, self.suffix or ""),)
        if self.suffix and not isinstance(self.prompt[0], str):
            raise bad("suffix: expected a prompt of text, got token ids", "suffix", COMBINATION)
        if isinstance(self.prompt[0], int):
            return (TokenPrompt(tuple(i for i in self.prompt if isinstance(i, int))),)
        return tuple(
            TextPrompt(one, self.suffix or "") if isinstance(one, str) else TokenPrompt(tuple(one))
            for one in self.prompt
            if not isinstance(one, int)
        )


def read_completion(body: Mapping[str, Any], served: Served) -> tuple[GenerationRequest, OpenAiWriter]:
    """Reads the request of a body of /v1/completions. Errors: ApiError 4xx."""
    asked, ignored = checked(CompletionBody, body, COMPLETION, served)
    request = GenerationRequest(
        prompts=asked.prompts(),
        where="prompt",
        sampling=asked.sampling(),
        ending=asked.ending(DEFAULT_TOKENS),
        n=asked.n or 1,
        best_of=asked.drawn(),
        stream=bool(asked.stream),
        progress=bool(asked.return_progress),
        form=asked.form(),
        echo=bool(asked.echo),
        ignored=ignored,
    )
    return request, OpenAiWriter(served.resolve(asked.model), chat=False, include_usage=asked.include_usage)
