"""Endpoints that answer with a JSON object and do not generate, such as counting tokens."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from leviathan_engine.model.chat_prompt import PromptError

from .api_error import ApiError, bad
from .asgi import ClientGone, parse_json, read_body
from .client_key import queue_key
from .generation.request import JsonObject
from .generation.run import Service
from .host import BEFORE_ANSWER, Host
from .json_response import json_response
from .requests.validation import json_type

Answer = Callable[[Mapping[str, Any], Service], JsonObject]


@dataclass(frozen=True)
class JsonRoute:
    """An endpoint that does not generate, as an ASGI application. `answer` runs in the tokenizer's thread."""

    host: Host
    answer: Answer
    error: Callable[[ApiError], Response] = ApiError.response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        status = BEFORE_ANSWER
        try:
            response = await self._respond(scope, receive)
            status = response.status_code
            await response(scope, receive, send)
        except ClientGone:
            pass
        finally:
            self.host.metrics.requests.labels(scope["path"], str(status)).inc()

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        try:
            with self.host.keys.admitted(self.host.authorize(scope)):
                raw = await read_body(receive, self.host.body_limit(), self.host.bodies)
                service = await self.host.service()
                body = await asyncio.to_thread(parse_json, raw)
                if not isinstance(body, dict):
                    raise bad(f"the request body: expected a JSON object, got {json_type(body)}")
                client = queue_key(scope, body)
                return json_response(await service.tokenising.run(client, lambda: self.answer(body, service)))
        except PromptError as err:
            return self.error(bad(err.message, err.param, err.code))
        except ApiError as err:
            return self.error(err)
