"""Reads the bodies of /v1/chat/completions and /v1/completions into checked requests.

Fields and ranges are those of OpenAI's API. What would change the answer and is not done here (tools, several choices,
log probabilities, penalties) is refused by name; fields that change no answer (user, metadata) are let through.
"""

from dataclasses import dataclass
from typing import Any

from leviathan_engine.front.api_error import ApiError, bad, too_long
from leviathan_engine.wire import ServedModel

from . import fields

ROLES = {"system", "developer", "user", "assistant"}
MAX_MESSAGES = 4096
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 1024
# The least and the most.
TEMPERATURE = (0, 2)
TOP_P = (0, 1)
SEED = (-(1 << 63), (1 << 63) - 1)
REFUSED: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "audio": (),
    "modalities": (["text"],),
    "response_format": ({"type": "text"},),
}
CHAT_REFUSED = REFUSED | {"logprobs": (False,), "top_logprobs": (0,)}
TEXT_REFUSED = REFUSED | {"logprobs": (), "best_of": (1,), "suffix": ("",)}


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen, and when to end. None: what the model's generation_config says, or the most there is."""

    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    seed: int | None
    stop: tuple[str, ...]
    stream: bool
    include_usage: bool


@dataclass(frozen=True)
class Chat:
    """A checked chat: messages of `role` and `content`."""

    messages: tuple[dict[str, str], ...]
    sampling: Sampling


@dataclass(frozen=True)
class Completion:
    """A checked completion: text, or token ids."""

    prompt: str | tuple[int, ...]
    echo: bool
    sampling: Sampling


def chat(body: Any, model: ServedModel) -> Chat:
    """Checks the body of a chat. Errors: ApiError 4xx."""
    body = _object(body, model)
    fields.refuse(body, CHAT_REFUSED)
    messages = body.get("messages")
    if not isinstance(messages, list):
        raise bad("messages must be a list", "messages")
    if not messages:
        raise bad("messages is empty: at least one message is needed", "messages", "empty_array")
    if len(messages) > MAX_MESSAGES:
        raise bad(f"messages has {len(messages)} messages, at most {MAX_MESSAGES} are taken", "messages")
    checked = tuple(_message(message, f"messages[{i}]") for i, message in enumerate(messages))
    return Chat(checked, _sampling(body, model, None))


def completion(body: Any, model: ServedModel) -> Completion:
    """Checks the body of a completion. Errors: ApiError 4xx."""
    body = _object(body, model)
    fields.refuse(body, TEXT_REFUSED)
    prompt = body.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    sampling = _sampling(body, model, 16)
    echo = fields.truth(body, "echo")
    if isinstance(prompt, list) and len(prompt) > model.longest_prompt:
        raise too_long(f"prompt has {len(prompt)} items, at most {model.longest_prompt} tokens are taken", "prompt")
    if isinstance(prompt, list) and prompt and all(type(i) is int for i in prompt):
        if any(i < 0 for i in prompt):
            raise bad("prompt has a negative token id", "prompt")
        return Completion(tuple(prompt), echo, sampling)
    if isinstance(prompt, list):
        raise bad("prompt must be a string, a list of token ids, or a list of one of them", "prompt")
    if not fields.text(prompt, "prompt"):
        raise bad("prompt is empty", "prompt")
    return Completion(prompt, echo, sampling)


def _object(body: Any, model: ServedModel) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise bad("the body must be a JSON object")
    name = body.get("model")
    if name is None:
        raise bad("model is missing", "model")
    if not isinstance(name, str):
        raise bad("model must be a string", "model")
    if name != model.name:
        raise ApiError(
            404,
            f"the model {name[:100]!r} does not exist; {model.name!r} is served here",
            param="model",
            code="model_not_found",
        )
    return body


def _message(message: Any, where: str) -> dict[str, str]:
    if not isinstance(message, dict):
        raise bad(f"{where} must be an object", where)
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise bad(f"{where}.role must be one of {', '.join(sorted(ROLES))}", f"{where}.role")
    if message.get("tool_calls") or message.get("function_call"):
        raise bad(f"{where}.tool_calls is not supported", f"{where}.tool_calls", "unsupported_parameter")
    content = message.get("content")
    if content is None and role == "assistant":
        content = ""
    if isinstance(content, list):
        content = "".join(_part(part, f"{where}.content[{i}]") for i, part in enumerate(content))
    # "developer" is OpenAI's newer name for "system"; chat templates know the older one.
    return {"role": "system" if role == "developer" else role, "content": fields.text(content, f"{where}.content")}


def _part(part: Any, where: str) -> str:
    if not isinstance(part, dict) or part.get("type") != "text":
        raise bad(f'{where} must be {{"type": "text", "text": ...}}: the model reads text alone', where)
    return fields.text(part.get("text"), f"{where}.text")


def _sampling(body: dict[str, Any], model: ServedModel, default_tokens: int | None) -> Sampling:
    top = model.max_new_tokens
    asked = [fields.whole(body, name, 1, top) for name in ("max_completion_tokens", "max_tokens")]
    stream = fields.truth(body, "stream")
    default = None if default_tokens is None else min(default_tokens, top)
    return Sampling(
        temperature=None if body.get("temperature") is None else fields.number(body, "temperature", *TEMPERATURE, 1),
        top_p=None if body.get("top_p") is None else fields.number(body, "top_p", *TOP_P, 1),
        max_tokens=next((n for n in asked if n is not None), default),
        seed=fields.whole(body, "seed", *SEED),
        stop=_stop(body.get("stop")),
        stream=stream,
        include_usage=_include_usage(body.get("stream_options"), stream),
    )


def _stop(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or len(stops) > MAX_STOPS:
        raise bad(f"stop must be a string or a list of at most {MAX_STOPS} strings", "stop")
    checked = tuple(fields.text(stop, "stop") for stop in stops)
    if any(not stop or len(stop) > MAX_STOP_CHARACTERS for stop in checked):
        raise bad(f"stop strings have 1 to {MAX_STOP_CHARACTERS} characters", "stop")
    return checked


def _include_usage(options: Any, stream: bool) -> bool:
    if options is None:
        return False
    if not isinstance(options, dict):
        raise bad("stream_options must be an object", "stream_options")
    if not stream:
        raise bad("stream_options is for stream: true", "stream_options")
    return fields.truth(options, "include_usage")
