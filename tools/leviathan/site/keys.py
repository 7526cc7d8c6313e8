"""The types of the site file's keys: what a value may be, and how it is read from TOML and from text."""

import difflib
import re
import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

from leviathan.site.quantity import parse_quantity


@dataclass(frozen=True)
class Key:
    """What a key means and may be: `help` in one line, `wants` names the allowed values, `accepts` tests one."""

    help: str
    wants: str = ""
    accepts: Callable[[Any], bool] | None = None


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
        return f"{kind(self.type)}, {self.key.wants}" if self.key.wants else kind(self.type)


def between(low: float, high: float, unit: str = "") -> dict[str, Any]:
    """Allowed are numbers from `low` to `high`, both included."""
    return {"wants": f"{low:g} to {high:g}{f' {unit}' if unit else ''}", "accepts": lambda value: low <= value <= high}


def zero_or(low: int, high: int) -> dict[str, Any]:
    """Allowed are 0 and the numbers from `low` to `high`, both included."""
    return {"wants": f"0, or {low} to {high}", "accepts": lambda value: value == 0 or low <= value <= high}


def like(pattern: str, example: str) -> dict[str, Any]:
    """Allowed are texts that match the whole of `pattern`; `example` shows one."""
    return {"wants": f"like {example}", "accepts": lambda value: re.fullmatch(pattern, value) is not None}


def quantity(example: str) -> dict[str, Any]:
    """Allowed are Kubernetes quantities above zero."""

    def accepts(value: str) -> bool:
        try:
            return parse_quantity(value) > 0
        except ValueError:
            return False

    return {"wants": f"a Kubernetes quantity like {example}", "accepts": accepts}


def kind(type_: Any) -> str:
    """A type of the schema in words."""
    if isinstance(type_, type) and issubclass(type_, Enum):
        return "one of " + ", ".join(str(member.value) for member in type_)
    if typing.get_origin(type_) is tuple:
        return f"a list of {kind(typing.get_args(type_)[0]).split(' ', 1)[1]}s"
    return {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}[type_]


def specs(site: type) -> list[Spec]:
    """Every key of the schema `site` (a dataclass of dataclasses whose fields are `Annotated[type, Key]`), in order."""
    found = []
    for section in fields(site):
        section_type = typing.get_type_hints(site)[section.name]
        hints = typing.get_type_hints(section_type, include_extras=True)
        for name in (field.name for field in fields(section_type)):
            type_, key = typing.get_args(hints[name])[:2]
            found.append(Spec(section.name, name, type_, key))
    return found


def from_toml(spec: Spec, value: Any) -> Any:
    """`value`, as TOML has it, as the key's type.

    Errors: ValueError, in words, when the type or the value is wrong.
    """
    typed = _typed(spec.type, value)
    if typed is None or (spec.key.accepts is not None and not spec.key.accepts(typed)):
        raise ValueError(f"got {shown(value)}, wants {spec.wants}")
    return typed


def from_text(spec: Spec, text: str) -> Any:
    """`text`, from a flag or the environment, as the key's type; lists are separated by commas.

    Errors: ValueError, in words, when the type or the value is wrong.
    """
    return from_toml(spec, _untext(spec.type, text))


def shown(value: Any) -> str:
    """A value as an error shows it, with its type where that is the point."""
    return (
        f"the text {value!r}"
        if isinstance(value, str)
        else str(value).lower()
        if isinstance(value, bool)
        else f"{value!r}"
    )


def nearest(name: str, allowed: Iterable[str], cutoff: float = 0.6) -> str:
    """The one of `allowed` that `name` was probably meant to be, or an empty text."""
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
