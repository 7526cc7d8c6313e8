"""Errors that a client of the API sees, in the form that OpenAI's clients read."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from leviathan_engine.front.json_response import json_response

INVALID = "invalid_request_error"


class ApiError(Exception):
    """An answer that is an error: HTTP `status`, the text, and OpenAI's type, param and code."""

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
        """`{"error": {message, type, param, code}}`."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        """The whole answer."""
        return json_response(self.body(), self.status, self.headers)


def bad(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """400: the request is wrong."""
    return ApiError(400, message, param=param, code=code)


def too_long(message: str, param: str) -> ApiError:
    """400: the prompt does not fit into the model's context."""
    return bad(message, param, "context_length_exceeded")


def unavailable(message: str, code: str = "engine_unavailable") -> ApiError:
    """503: the engine does not answer now; the client may try again."""
    return ApiError(503, message, kind="server_error", code=code, headers={"retry-after": "5"})
