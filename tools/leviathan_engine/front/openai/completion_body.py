"""The body of /v1/completions."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from ..api_error import bad
from ..generation.request import Ending, GenerationRequest, Prompt, TextPrompt, TokenPrompt
from ..requests.json_types import CONTEXT, INTEGRAL, Text, TokenId
from ..served import Served
from .answers import OpenAiWriter
from .common_body import MAX_CHOICES, NO_TOKENS, CommonBody, Logprobs
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
    max_tokens: Annotated[int, Field(ge=-1), INTEGRAL] | None = Field(
        None,
        description="-1 and null: as many as fit the KV cache. A larger number is lowered to that. 0 needs echo or"
        " prompt_logprobs.",
    )
    logprobs: Logprobs | None = Field(
        None,
        description="log probabilities of the answer's tokens, with echo also of the prompt's, and this number of most"
        " likely tokens with each",
    )
    prompt_logprobs: Logprobs | None = Field(
        None, description="vLLM's: log probabilities of the prompt's tokens, in an object of their own; not with stream"
    )
    best_of: Annotated[int, Field(ge=1, le=MAX_CHOICES), INTEGRAL] | None = Field(
        None, description="answers to generate, of which the n likeliest are returned; at least n, not with stream"
    )
    suffix: Text | None = Field(None, description="text after the answer; needs a prompt of text")
    echo: bool | None = Field(None, description="return the prompt's text before the answer")

    def named_logprobs(self) -> int | None:
        """Returns the number of most likely tokens to report with each token; None: no log probabilities."""
        if self.logprobs is not None and self.echo and self.suffix:
            raise bad("suffix is not supported together with echo and logprobs: leave it out", "suffix", COMBINATION)
        return self.logprobs

    def named_prompt(self) -> int | None:
        """Returns the number of most likely tokens in `prompt_logprobs`; None: no such object. Errors: ApiError 400."""
        if self.prompt_logprobs is not None and self.stream:
            other = "leave one out, or ask for echo with logprobs"
            raise bad(f"prompt_logprobs is not supported with stream: {other}", "prompt_logprobs", COMBINATION)
        return self.prompt_logprobs

    def ending(self, default_tokens: int | None) -> Ending:
        """Returns when the answer ends. Errors: ApiError 400 for no tokens, and nothing of the prompt."""
        ending = super().ending(default_tokens)
        if ending.max_tokens == 0 and not self.echo and self.prompt_logprobs is None:
            raise bad(f"max_tokens: {NO_TOKENS}, which needs echo or prompt_logprobs", "max_tokens", COMBINATION)
        return ending

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
        prompt_logprobs=asked.named_prompt(),
    )
    return request, OpenAiWriter(
        served.resolve(asked.model),
        chat=False,
        include_usage=asked.include_usage,
        echo_logprobs=request.echo_logprobs,
        prompt_logprobs=request.prompt_logprobs,
    )
