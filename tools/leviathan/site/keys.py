"""The types of the site file's keys: allowed values, and how to read them from TOML and from strings."""

import difflib
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any

from leviathan.site.quantity import PATTERN, parse_quantity


@dataclass(frozen=True)
class Key:
    """The meaning and the allowed values of a key.

    Arguments: `help`, one line; `wants`, the allowed values in words; `accepts`, tests a value; `schema`, the same
    constraint as JSON Schema; `hint`, maps a wrong value to what the user probably meant, or to an empty string.
    """

    help: str
    wants: str = ""
    accepts: Callable[[Any], bool] | None = None
    schema: Mapping[str, Any] = field(default_factory=dict)
    hint: Callable[[Any], str] = lambda _value: ""


@dataclass(frozen=True)
class Spec:
    """One key of the schema: its section and name, its type and its `Key`."""

    section: str
    name: str
    type: Any
    key: Key

    @property
    def path(self) -> str:
        """`section.name`, as in errors and `--set`."""
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that sets the key: LEVIATHAN_SECTION_NAME."""
        return f"LEVIATHAN_{self.section}_{self.name}".upper()

    @property
    def wants(self) -> str:
        """The allowed values in words."""
        return f"{kind(self.type)} {self.key.wants}" if self.key.wants else kind(self.type)


def between(low: float, high: float, unit: str = "") -> dict[str, Any]:
    """A constraint: numbers from `low` to `high`, inclusive."""
    return {
        "wants": f"from {low:.9g} to {high:.9g}{f' {unit}' if unit else ''}",
        "accepts": lambda value: low <= value <= high,
        "schema": {"minimum": low, "maximum": high},
    }


def zero_or(low: int, high: int) -> dict[str, Any]:
    """A constraint: 0, or numbers from `low` to `high`, inclusive."""
    return {
        "wants": f"from {low} to {high}, or 0",
        "accepts": lambda value: value == 0 or low <= value <= high,
        "schema": {"anyOf": [{"const": 0}, {"minimum": low, "maximum": high}]},
    }


def like(pattern: str, example: str) -> dict[str, Any]:
    """A constraint: strings that match all of `pattern`, such as `example`."""
    return {
        "wants": f"such as {example}",
        "accepts": lambda value: re.fullmatch(pattern, value) is not None,
        "schema": {"pattern": f"^({pattern})$", "examples": [example]},
    }


def each_like(pattern: str, example: str) -> dict[str, Any]:
    """A constraint: lists of strings that each match all of `pattern`, such as `example`."""
    return {
        "wants": f"such as {example}",
        "accepts": lambda values: all(re.fullmatch(pattern, value) is not None for value in values),
        "schema": {"items": {"type": "string", "pattern": f"^({pattern})$"}},
    }


def quantity(example: str) -> dict[str, Any]:
    """A constraint: Kubernetes quantities above zero."""

    def accepts(value: str) -> bool:
        try:
            return parse_quantity(value) > 0
        except ValueError:
            return False

    return {
        "wants": f"with a Kubernetes quantity such as {example}",
        "accepts": accepts,
        "schema": {"pattern": f"^({PATTERN.pattern})$", "examples": [example]},
    }


def kind(type_: Any) -> str:
    """A type of the schema in words."""
    if isinstance(type_, type) and issubclass(type_, Enum):
        return "one of " + ", ".join(str(member.value) for member in type_)
    if typing.get_origin(type_) is tuple:
        return f"a list of {kind(typing.get_args(type_)[0]).split(' ', 1)[1]}s"
    return {str: "a string", bool: "true or false", int: "an integer", float: "a number"}[type_]


def specs(site: type) -> list[Spec]:
    """Every key of the schema `site` (a dataclass of dataclasses whose fields are `Annotated[type, Key]`), in order."""
    found = []
    for section in fields(site):
        section_type = typing.get_type_hints(site)[section.name]
        hints = typing.get_type_hints(section_type, include_extras=True)
        for name in (entry.name for entry in fields(section_type)):
            type_, key = typing.get_args(hints[name])[:2]
            found.append(Spec(section.name, name, type_, key))
    return found


def from_toml(spec: Spec, value: Any) -> Any:
    """Convert `value`, as parsed from TOML, to the key's type.

    Errors: ValueError with a readable message, if the type or the value is wrong.
    """
    typed = _typed(spec.type, value)
    if typed is None or (spec.key.accepts is not None and not spec.key.accepts(typed)):
        got = shown(
            value,
            quoted_only=typed is not None
            or (isinstance(value, str) and isinstance(spec.type, type) and issubclass(spec.type, str | Enum)),
        )
        hint = spec.key.hint(value) or (_refused(spec.key, value) if typed is not None else "")
        raise ValueError(f"expected {spec.wants}, got {got}{f'; {hint}' if hint else ''}")
    return typed


def _refused(key: Key, value: Any) -> str:
    """Returns in words the one character that makes a string a wrong value, wherever it is; "" if there is none."""
    if not isinstance(value, str) or key.accepts is None:
        return ""
    for character in dict.fromkeys(value):
        if key.accepts(value.replace(character, "a")) and not key.accepts(f"a{character}a"):
            return f"{character!r} is not allowed there"
    return ""


def from_text(spec: Spec, text: str) -> Any:
    """Convert `text`, from a flag or the environment, to the key's type. Commas separate the items of a list.

    Errors: ValueError with a readable message, if the type or the value is wrong.
    """
    return from_toml(spec, _untext(spec.type, text))


def shown(value: Any, *, quoted_only: bool = True) -> str:
    """A value as an error shows it. Without `quoted_only`, a string is called one, because its type is wrong."""
    if isinstance(value, str):
        return f"{value!r}" if quoted_only else f"the string {value!r}"
    return str(value).lower() if isinstance(value, bool) else f"{value!r}"


def nearest(name: str, allowed: Iterable[str], cutoff: float = 0.6) -> str:
    """The name in `allowed` that is most similar to `name`, or an empty string."""
    return next(iter(difflib.get_close_matches(name, list(allowed), n=1, cutoff=cutoff)), "")


def _typed(type_: Any, value: Any) -> Any:
    if isinstance(type_, type) and issubclass(type_, Enum):
        return next((member for member in type_ if member.value == value), None)
    if typing.get_origin(type_) is tuple:
        item = typing.get_args(type_)[0]
        items = [_typed(item, entry) for entry in value] if isinstance(value, list) else [None]
        return None if None in items else tuple(items)
    if type_ is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value if type(value) is type_ else None


def _untext(type_: Any, text: str) -> Any:
    if isinstance(type_, types.GenericAlias):
        item = typing.get_args(type_)[0]
        return [_untext(item, part.strip()) for part in text.split(",")] if text.strip() else []
    if type_ is bool:
        return {"true": True, "false": False}.get(text, text)
    if type_ in (int, float):
        try:
            return type_(text)
        except ValueError:
            return text
    return text


def toml(value: Any) -> str:
    """Format a value as TOML. Source: TOML 1.0, basic strings."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(toml(item) for item in value)}]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in escaped) + '"'
    return repr(value)
