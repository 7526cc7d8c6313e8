"""Adapters of Anthropic's Messages API: messages and count_tokens."""

from collections.abc import Mapping
from typing import Any

from ..generation.adapter import Adapter, AnswerWriter
from ..generation.planned import prepare
from ..generation.request import GenerationRequest, JsonObject
from ..generation.run import Service
from ..openai.chat_body import read_chat
from ..served import Served
from .answers import MessageWriter, error_response
from .body import CountBody, MessagesBody, as_chat, read


def read_messages(body: Mapping[str, Any], served: Served) -> tuple[GenerationRequest, AnswerWriter]:
    """Reads the request of a body of /v1/messages. Errors: ApiError 4xx."""
    asked = read(MessagesBody, body, ignore_unknown=served.ignore_unknown)
    request, _ = read_chat(as_chat(asked), served)
    return request, MessageWriter(served.resolve(asked.model))


def count_tokens(body: Mapping[str, Any], service: Service) -> JsonObject:
    """Counts the tokens of the prompt of a body of /v1/messages. Errors: ApiError 4xx."""
    asked = read(CountBody, body, ignore_unknown=service.served.ignore_unknown)
    request, _ = read_chat(as_chat(asked), service.served)
    most = service.served.model.cache_lens
    return {"input_tokens": len(prepare(service.prompts, request.prompts[0], most)[0])}


MESSAGES = Adapter(read_messages, error_response)
