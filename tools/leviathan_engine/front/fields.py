"""Checks single fields of a request's JSON: the type, the range, and a message that names the field."""

import math
from collections.abc import Mapping
from typing import Any

from leviathan_engine.front.api_error import bad

Body = Mapping[str, Any]


def number(body: Body, name: str, low: float, high: float, default: float) -> float:
    """A finite number from `low` to `high`; `default` where it is missing or null. Errors: ApiError 400."""
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise bad(f"{name} must be a number", name)
    if isinstance(value, float) and not math.isfinite(value):
        raise bad(f"{name} must be a finite number", name)
    if not low <= value <= high:
        raise bad(f"{name} must be from {low:g} to {high:g}", name)
    return float(value)


def whole(body: Body, name: str, low: int, high: int) -> int | None:
    """A whole number from `low` to `high`, None where it is missing or null. Errors: ApiError 400."""
    value: object = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise bad(f"{name} must be a whole number", name)
    if not low <= value <= high:
        raise bad(f"{name} must be from {low} to {high}", name)
    return value


def truth(body: Body, name: str) -> bool:
    """true or false; false where it is missing or null. Errors: ApiError 400."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise bad(f"{name} must be true or false", name)
    return bool(value)


def text(value: Any, name: str) -> str:
    """A string that is Unicode text. Errors: ApiError 400."""
    if not isinstance(value, str):
        raise bad(f"{name} must be a string", name)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as err:
        raise bad(f"{name} has half of a surrogate pair at character {err.start}", name) from err
    return value


def refuse(body: Body, harmless: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuses fields that ask for what is not done here, unless their value is null or one of the harmless ones.

    Errors: ApiError 400.
    """
    for name, values in harmless.items():
        value = body.get(name)
        if value is None or any(type(value) is type(v) and value == v for v in values):
            continue
        if isinstance(value, int | float) and not isinstance(value, bool) and value in values:
            continue
        raise bad(f"{name} is not supported", name, "unsupported_parameter")
