"""Turns pydantic's errors into an ApiError: the first error, with the field's path as `param`."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..api_error import ApiError, bad

M = TypeVar("M", bound=BaseModel)
# pydantic's error type → the expected JSON type.
EXPECTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "finite_number": "a finite number",
}
BOUNDS = {
    "greater_than_equal": "at least",
    "less_than_equal": "at most",
    "greater_than": "more than",
    "less_than": "less than",
}
LENGTHS = {
    "too_long": ("at most", "max_length", "items"),
    "too_short": ("at least", "min_length", "items"),
    "string_too_long": ("at most", "max_length", "characters"),
    "string_too_short": ("at least", "min_length", "characters"),
}
# Our own error types, which are also error codes.
OWN_CODES = ("invalid_tool_name", "invalid_token_id")
SHOWN = 60


def validated(model: type[M], body: Mapping[str, Any]) -> M:
    """Returns `body` as a `model`. Errors: ApiError 400 with the field, the expected and the actual value."""
    if not isinstance(body, dict):
        raise bad(f"the request body: expected a JSON object, got {json_type(body)}")
    try:
        return model.model_validate(body)
    except ValidationError as err:
        raise _api_error(err.errors(include_url=False)[0]) from err


def path(loc: tuple[int | str, ...]) -> str:
    """Formats a location as `messages[0].content`. Leaves out names in <>, which are the branches of a union."""
    out = ""
    for step in loc:
        if isinstance(step, int):
            out += f"[{step}]"
        elif not step.startswith("<"):
            out += f".{step}" if out else step
    return out


def json_type(value: Any) -> str:
    """Returns the JSON type of a value, with its article."""
    kinds = {
        bool: "a boolean",
        int: "an integer",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return "null" if value is None else kinds.get(type(value), type(value).__name__)


def shown(value: Any) -> str:
    """Formats a value for a message: short scalars as JSON, others by their type."""
    if isinstance(value, str) and len(value) <= SHOWN:
        return ascii(value)
    return f"{value}" if type(value) in (int, float) and abs(value) < 1e20 else json_type(value)


def _api_error(error: ErrorDetails) -> ApiError:
    where = path(error["loc"])
    if error["type"] == "missing":
        return bad(f"{where} is missing", where, "missing_required_parameter")
    if error["type"] in ("too_short", "string_too_short") and not error["input"]:
        return bad(f"{where} is empty", where, "invalid_value")
    code = error["type"] if error["type"] in OWN_CODES else "invalid_value"
    return bad(f"{where}: {_finding(error)}", where, code)


def _finding(error: ErrorDetails) -> str:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind in EXPECTED:
        return f"expected {EXPECTED[kind]}, got {value if kind == 'finite_number' else json_type(value)}"
    if kind == "literal_error":
        return f"expected {context['expected']}, got {shown(value)}"
    if kind in BOUNDS:
        return f"expected {BOUNDS[kind]} {next(iter(context.values()))}, got {shown(value)}"
    if kind in LENGTHS:
        word, key, what = LENGTHS[kind]
        return f"expected {word} {context[key]} {what}, got {len(value)}"
    return error["msg"]
