"""Errors that a client of the API sees, in OpenAI's format."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from leviathan_engine.front.json_response import json_response

INVALID = "invalid_request_error"


class ApiError(Exception):
    """An error response: HTTP `status`, the message, and OpenAI's type, param and code."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.param, self.code = status, message, kind, param, code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """Returns `{"error": {message, type, param, code}}`."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        """Returns the response."""
        return json_response(self.body(), self.status, self.headers)


def bad(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """Returns status 400: the request is invalid."""
    return ApiError(400, message, param=param, code=code)


def too_long(message: str, param: str) -> ApiError:
    """Returns status 400: the prompt does not fit into the model's context."""
    return bad(message, param, "context_length_exceeded")


def unavailable(message: str, code: str = "engine_unavailable") -> ApiError:
    """Returns status 503: the engine cannot answer now; the client may try again."""
    return ApiError(503, message, kind="server_error", code=code, headers={"retry-after": "5"})
