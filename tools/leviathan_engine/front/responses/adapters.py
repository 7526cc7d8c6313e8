"""The adapter of OpenAI's Responses API."""

from collections.abc import Mapping
from typing import Any

from ..generation.adapter import Adapter, AnswerWriter
from ..generation.request import GenerationRequest
from ..openai.chat_body import read_chat
from ..served import Served
from .answers import ResponseWriter
from .body import as_chat, read


def read_responses(body: Mapping[str, Any], served: Served) -> tuple[GenerationRequest, AnswerWriter]:
    """Reads the request of a body of /v1/responses. Errors: ApiError 4xx."""
    asked = read(body, ignore_unknown=served.ignore_unknown)
    request, _ = read_chat(as_chat(asked), served)
    return request, ResponseWriter(asked, served.resolve(asked.model))


RESPONSES = Adapter(read_responses)
