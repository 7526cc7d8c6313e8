"""JSON answers. ASCII only, so that text with half a surrogate pair cannot break an answer."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

_COMPACT = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def dumps(value: Any) -> str:
    """Compact JSON. NaN is refused: it is no JSON."""
    return _COMPACT.encode(value)


def json_object(text: str) -> dict[str, Any]:
    """The object that a model has written; what is not one is kept as text under "text"."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {"text": text}
    return value if isinstance(value, dict) else {"text": text}


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An application/json answer."""
    return Response(dumps(value), status, dict(headers or {}), "application/json")
