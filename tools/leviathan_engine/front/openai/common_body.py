"""The common fields of /v1/chat/completions and /v1/completions, and their translation to the internal request."""

from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from ..generation.request import Ending, Sampling
from ..requests.json_types import INTEGRAL, Options, Text, TokenId
from .answer_form import FormFields

MAX_STOPS, MAX_STOP_CHARACTERS = 16, 1024
SEEDS = 1 << 63
MAX_CHOICES, MAX_STOP_TOKENS, MAX_BIASES, MAX_LOGPROBS = 128, 256, 1024, 20


def _token_ids(biases: dict[str, float]) -> dict[str, float]:
    for key in biases:
        if not (key.isascii() and key.isdigit() and len(key) < 10):
            raise PydanticCustomError(
                "invalid_token_id", "expected token ids as keys, got {key}", {"key": ascii(key[:40])}
            )
    return biases


Bias = Annotated[float, Field(ge=-100, le=100)]
LogitBias = Annotated[dict[str, Bias], Field(max_length=MAX_BIASES), AfterValidator(_token_ids)]
# Logits are divided by it: a number close to 0 would give infinities, from which no token can be drawn.
Repetition = Annotated[float, Field(ge=0.01, le=10)]
Logprobs = Annotated[int, Field(ge=0, le=MAX_LOGPROBS), INTEGRAL]
Stop = Annotated[Text, Field(min_length=1, max_length=MAX_STOP_CHARACTERS)]


def _stop_kind(value: Any) -> str | None:
    return "<text>" if isinstance(value, str) else "<list>" if isinstance(value, list) else None


Stops = Annotated[
    Annotated[Stop, Tag("<text>")] | Annotated[list[Stop], Field(max_length=MAX_STOPS), Tag("<list>")],
    Discriminator(_stop_kind, custom_error_type="stop", custom_error_message="expected a string or a list of strings"),
]


NO_TOKENS = "expected -1 or at least 1, got 0"


def _not_zero(value: int) -> int:
    if value == 0:
        raise PydanticCustomError("no_tokens", NO_TOKENS)
    return value


# -1: as many as fit.
MaxTokens = Annotated[int, Field(ge=-1, json_schema_extra={"not": {"const": 0}}), AfterValidator(_not_zero), INTEGRAL]


class StreamOptions(Options):
    """`stream_options`. Without `stream: true` they have no effect."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = Field(None, description="accepted, without effect: no padding is ever added")


class CommonBody(FormFields):
    """The common fields. Every optional field accepts null, which means the same as leaving it out."""

    model: Text | None = Field(None, description="the served model or one of its aliases; missing: the served model")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: MaxTokens | None = Field(
        None, description="-1 and null: as many as fit the KV cache. A larger number is lowered to that."
    )
    max_completion_tokens: MaxTokens | None = Field(None, description="as max_tokens, and overrides it")
    n_predict: MaxTokens | None = Field(None, description="llama.cpp's name of max_tokens")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-SEEDS, lt=SEEDS), INTEGRAL] | None = None
    stop: Stops | None = None
    return_progress: bool | None = Field(
        None, description="a stream reports in prompt_progress how much of the prompt is read"
    )
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES), INTEGRAL] | None = Field(
        None, description="number of answers to each prompt"
    )
    top_k: Annotated[int, Field(ge=-1), INTEGRAL] | None = Field(None, description="0 and -1: all tokens")
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    typical_p: Annotated[float, Field(gt=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Repetition | None = None
    repeat_penalty: Repetition | None = Field(None, description="as repetition_penalty")
    logit_bias: LogitBias | None = Field(
        None, description="token id, as a string, to the number that is added to its logit"
    )
    min_tokens: Annotated[int, Field(ge=0), INTEGRAL] | None = None
    stop_token_ids: Annotated[list[TokenId], Field(max_length=MAX_STOP_TOKENS)] | None = None
    ignore_eos: bool | None = None
    user: Text | None = Field(
        None, description="client, together with the address and the API key; clients take turns in the queue"
    )
    safety_identifier: Text | None = Field(None, description="as user")

    def asked_tokens(self, default: int | None) -> int | None:
        """Returns the maximum number of tokens of the answer, None: as many as fit; `default` if the body has none."""
        names = ("max_completion_tokens", "max_tokens", "n_predict")
        given = [name for name in names if name in self.model_fields_set]
        value = next((n for n in (getattr(self, name) for name in given) if n is not None), None)
        if not given:
            return default
        return None if value == -1 else value

    def sampling(self) -> Sampling:
        """Returns the sampling options."""
        repetition = next((p for p in (self.repetition_penalty, self.repeat_penalty) if p is not None), 1.0)
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            top_k=max(0, self.top_k or 0),
            min_p=self.min_p or 0.0,
            typical_p=1.0 if self.typical_p is None else self.typical_p,
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            repetition_penalty=repetition,
            logit_bias=tuple((int(token), bias) for token, bias in (self.logit_bias or {}).items()),
            logprobs=self.named_logprobs(),
        )

    def named_logprobs(self) -> int | None:
        """Returns the number of most likely tokens to report with each token; None: no log probabilities."""
        return None

    def ending(self, default_tokens: int | None) -> Ending:
        """Returns when the answer ends."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Ending(
            max_tokens=self.asked_tokens(default_tokens),
            stop=tuple(stops),
            min_tokens=self.min_tokens or 0,
            stop_tokens=tuple(self.stop_token_ids or ()),
            ignore_eos=bool(self.ignore_eos),
        )

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with a usage chunk."""
        return bool(self.stream_options and self.stream_options.include_usage)
