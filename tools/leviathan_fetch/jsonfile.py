"""Read and write the lock files: JSON with sorted keys, one space of indent, one newline at the end."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from leviathan_fetch.errors import FetchError

T = TypeVar("T")
KINDS = {dict: "an object", list: "a list", str: "a string", int: "an integer", bool: "a boolean", type(None): "null"}


def read_object(path: Path, remedy: str) -> dict[str, Any]:
    """The JSON object in `path`.

    Errors: FetchError with file, line and column if it is not JSON, and with the file if it is missing or is not an
    object; `remedy` says what to do then.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FetchError(f"{path} does not exist", remedy) from None
    except UnicodeDecodeError as error:
        raise FetchError(f"{path} is not UTF-8 at byte {error.start}", remedy) from None
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise FetchError(f"{where} is not JSON: {error.msg}", remedy) from None
    if not isinstance(value, dict):
        raise FetchError(f"{path}: expected an object, got {a_kind(type(value))}", remedy)
    return value


def field(value: Mapping[str, Any], key: str, kind: type[T], where: str, remedy: str) -> T:
    """``value[key]``, which is to be of the JSON type `kind`.

    Errors: FetchError with `where` (the file, and the object in it), the key, and what is there instead; `remedy` says
    what to do then.
    """
    if key not in value:
        raise FetchError(f"{where} has no {key}", remedy)
    found = value[key]
    if type(found) is not kind:  # not isinstance: true and false are not numbers
        raise FetchError(f"{where}: {key}: expected {a_kind(kind)}, got {a_kind(type(found))}", remedy)
    return found


def a_kind(kind: type) -> str:
    """A JSON type for people, by Python's type for it."""
    return KINDS.get(kind, f"a {kind.__name__}")


def canonical(value: object) -> str:
    """`value` as this project writes JSON into its repository."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def write(path: Path, value: object) -> None:
    """Put `value` into `path` in one step, so that a reader sees the old file or the new one."""
    write_text(path, canonical(value))


def write_text(path: Path, text: str) -> None:
    """Put `text` into `path` in one step (a temporary file next to it, then a rename)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
