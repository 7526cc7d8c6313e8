"""Adapters of Ollama's /api/chat and /api/generate."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..generation.adapter import Adapter, AnswerWriter
from ..generation.request import GenerationRequest
from ..openai.chat_body import read_chat
from ..openai.completion_body import read_completion
from ..served import Served
from .answers import OllamaWriter, error_response
from .body import LATEST, ChatBody, GenerateBody, as_chat, as_generation, read


def named(body: Mapping[str, Any], served: Served) -> Mapping[str, Any]:
    """Returns the body without the tag that Ollama's clients append to a model's name."""
    name = body.get("model") if isinstance(body, dict) else None
    if isinstance(name, str) and name.endswith(LATEST) and name not in served.names:
        return {**body, "model": name.removesuffix(LATEST)}
    return body


def read_ollama_chat(body: Mapping[str, Any], served: Served) -> tuple[GenerationRequest, AnswerWriter]:
    """Reads the request of a body of /api/chat. Errors: ApiError 4xx."""
    asked = read(ChatBody, named(body, served), ignore_unknown=served.ignore_unknown)
    request, _ = read_chat(as_chat(asked), served)
    return request, OllamaWriter(served.resolve(asked.model), chat=True)


def read_generate(body: Mapping[str, Any], served: Served) -> tuple[GenerationRequest, AnswerWriter]:
    """Reads the request of a body of /api/generate. Errors: ApiError 4xx."""
    asked = read(GenerateBody, named(body, served), ignore_unknown=served.ignore_unknown)
    said = as_generation(asked)
    if asked.raw:
        request, _ = read_completion({"max_tokens": None} | said, served)  # Ollama has no default limit
    else:
        request, _ = read_chat(said, served)
    return replace(request, where="prompt"), OllamaWriter(served.resolve(asked.model), chat=False)


CHAT = Adapter(read_ollama_chat, error_response)
GENERATE = Adapter(read_generate, error_response)
