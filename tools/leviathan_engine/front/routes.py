"""The routes of other servers' APIs, each with its adapter or its endpoint."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .anthropic.adapters import MESSAGES, count_tokens
from .anthropic.answers import error_response as anthropic_error
from .generation.request import JsonObject
from .generation_route import GenerationRoute
from .host import Host
from .json_response import json_response
from .json_route import JsonRoute
from .ollama.adapters import CHAT, GENERATE
from .ollama.answers import error_response as ollama_error
from .ollama.model_info import running, show_model, tags, version
from .responses.adapters import RESPONSES
from .tokens.answers import apply_template, detokenize, tokenize


def other_apis(host: Host) -> list[Route]:
    """Returns routes for OpenAI's Responses, Anthropic's Messages, vLLM's and llama.cpp's tokenizer, and Ollama."""
    generating = {"/v1/responses": RESPONSES, "/v1/messages": MESSAGES, "/api/chat": CHAT, "/api/generate": GENERATE}
    answering = {
        "/v1/messages/count_tokens": JsonRoute(host, count_tokens, anthropic_error),
        "/tokenize": JsonRoute(host, tokenize),
        "/detokenize": JsonRoute(host, detokenize),
        "/apply-template": JsonRoute(host, apply_template),
        "/api/show": JsonRoute(host, show_model, ollama_error),
    }
    showing: dict[str, Callable[[], JsonObject]] = {
        "/api/version": version,
        "/api/tags": lambda: tags(host.served(), host.created),
        "/api/ps": lambda: running(host.served(), host.created),
    }
    return [
        *(Route(path, GenerationRoute(host, adapter), methods=["POST"]) for path, adapter in generating.items()),
        *(Route(path, answer, methods=["POST"]) for path, answer in answering.items()),
        *(Route(path, _look(host, what)) for path, what in showing.items()),
    ]


def _look(host: Host, what: Callable[[], JsonObject]) -> Callable[[Request], Awaitable[Response]]:
    """Returns an endpoint that checks the API key, and answers with the current value of `what`."""

    async def look(http: Request) -> Response:
        host.authorize(http.scope)
        return json_response(what())

    return look
