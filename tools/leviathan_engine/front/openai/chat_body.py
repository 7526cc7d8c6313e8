"""The body of /v1/chat/completions."""

from collections.abc import Mapping
from typing import Any

from ..generation.request import ChatPrompt, GenerationRequest
from ..served import Served
from .answers import OpenAiWriter
from .common_body import CommonBody
from .messages import Messages
from .reading import checked
from .rules import CHAT


class ChatBody(CommonBody):
    """A chat: messages, and how to answer them."""

    messages: Messages


def read_chat(body: Mapping[str, Any], served: Served) -> tuple[GenerationRequest, OpenAiWriter]:
    """The request of a chat's body. Errors: ApiError 4xx."""
    asked, ignored = checked(ChatBody, body, CHAT, served)
    messages = tuple(message.for_template() for message in asked.messages)
    request = GenerationRequest(
        prompts=(ChatPrompt(messages),),
        where="messages",
        sampling=asked.sampling(),
        ending=asked.ending(default_tokens=None),
        stream=bool(asked.stream),
        ignored=ignored,
    )
    return request, OpenAiWriter(served.resolve(asked.model), chat=True, include_usage=asked.include_usage)
