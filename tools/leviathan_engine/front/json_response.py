"""JSON responses, in ASCII, so that half of a surrogate pair in a text cannot break an answer."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

PIECE = 256
_COMPACT = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def dumps(value: Any) -> str:
    """Returns compact JSON. Errors: ValueError for NaN, which is not JSON."""
    return _COMPACT.encode(value)


def dumps_long(value: Any) -> str:
    """Returns what `dumps` returns, for a thread: lets other threads run after every PIECE items of a long list."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{dumps(name)}:{dumps_long(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list) and (len(value) > PIECE or any(isinstance(item, dict) for item in value[:1])):
        if len(value) <= PIECE:
            return "[" + ",".join(map(dumps_long, value)) + "]"
        pieces = (value[first : first + PIECE] for first in range(0, len(value), PIECE))
        return "[" + ",".join(dumps(piece)[1:-1] for piece in pieces) + "]"
    return dumps(value)


def json_object(text: str) -> dict[str, Any]:
    """Parses the object that a model has written; any other text is returned under the key "text"."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {"text": text}
    return value if isinstance(value, dict) else {"text": text}


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Returns an application/json response."""
    return Response(dumps(value), status, dict(headers or {}), "application/json")
