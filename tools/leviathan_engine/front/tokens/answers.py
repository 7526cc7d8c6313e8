"""Tokenises text, detokenises tokens, and renders messages with the chat template.

Accepts vLLM's bodies (`prompt` or `messages`) and llama.cpp's (`content`); answers have the names of both.
"""

from collections.abc import Mapping
from typing import Any

from ..api_error import bad
from ..generation.planned import prepare
from ..generation.request import ChatPrompt, GenerationRequest, JsonObject
from ..generation.run import Service
from ..openai.chat_body import read_chat
from ..requests.field_rules import FieldRules
from ..requests.json_types import Body, Text, TokenId
from ..requests.validation import validated
from ..served import Served

# These fields control the output, and are not fields of a chat.
SHOWN = frozenset({"return_token_strs", "with_pieces"})
# Special tokens are always parsed as such, as is llama.cpp's default.
RULES = FieldRules(frozenset(), {"parse_special": (True,)})


class TokenizeBody(Body):
    """A text to tokenise: vLLM's `prompt`, with the model's first token, or llama.cpp's `content`, without it."""

    model: Text | None = None
    prompt: Text | None = None
    content: Text | None = None
    add_special_tokens: bool | None = None
    add_special: bool | None = None
    return_token_strs: bool | None = None
    with_pieces: bool | None = None


class DetokenizeBody(Body):
    """Tokens to turn into text."""

    model: Text | None = None
    tokens: list[TokenId]


def tokenize(body: Mapping[str, Any], service: Service) -> JsonObject:
    """Returns `tokens`, `count` and `max_model_len`, and the tokens' texts if requested. Errors: ApiError 4xx."""
    if body.get("messages") is not None:
        ids, _ = prepare(service.prompts, chat_of(body, service.served).prompts[0], most(service))
        strings, pieces = body.get("return_token_strs") is True, body.get("with_pieces") is True
        return _tokens(ids, service, strings=strings, pieces=pieces)
    asked = validated(TokenizeBody, body)
    RULES.judge(asked, ignore_unknown=service.served.ignore_unknown)
    service.served.resolve(asked.model)
    text = asked.prompt if asked.prompt is not None else asked.content
    if text is None:
        raise bad("expected prompt, content or messages, got none of them", "prompt", "missing_required_parameter")
    special = asked.add_special_tokens is not False if asked.prompt is not None else bool(asked.add_special)
    take = service.prompts.text_ids if special else service.prompts.plain_ids
    ids = take(text, most(service))
    return _tokens(ids, service, strings=bool(asked.return_token_strs), pieces=bool(asked.with_pieces))


def detokenize(body: Mapping[str, Any], service: Service) -> JsonObject:
    """Returns the text, as vLLM's `prompt` and llama.cpp's `content`. Errors: ApiError 4xx."""
    asked = validated(DetokenizeBody, body)
    RULES.judge(asked, ignore_unknown=service.served.ignore_unknown)
    service.served.resolve(asked.model)
    text = service.prompts.whole_text(service.prompts.text_ids(asked.tokens, most(service)))
    return {"prompt": text, "content": text}


def apply_template(body: Mapping[str, Any], service: Service) -> JsonObject:
    """Returns the prompt of a chat as text. Errors: ApiError 4xx."""
    prompt = chat_of(body, service.served).prompts[0]
    assert isinstance(prompt, ChatPrompt)
    return {"prompt": service.prompts.rendered(prompt).text}


def chat_of(body: Mapping[str, Any], served: Served) -> GenerationRequest:
    """Returns the request of a chat body, without the fields that only the tokenizer's endpoints have."""
    return read_chat({name: value for name, value in body.items() if name not in SHOWN}, served)[0]


def most(service: Service) -> int:
    """Returns the maximum number of tokens: the size of the model's context."""
    return service.served.model.cache_lens


def _tokens(ids: list[int], service: Service, *, strings: bool, pieces: bool) -> JsonObject:
    texts = [service.prompts.whole_text([i]) for i in ids] if strings or pieces else []
    tokens: list[Any] = [{"id": i, "piece": text} for i, text in zip(ids, texts, strict=True)] if pieces else ids
    out: JsonObject = {"tokens": tokens, "count": len(ids), "max_model_len": most(service)}
    return out | ({"token_strs": texts} if strings else {})
