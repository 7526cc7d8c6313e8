"""JSON in and out: canonical bytes for what is hashed, and errors that name the file and the key."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from leviathan_image.errors import ImageError


def canonical(document: object) -> bytes:
    """The bytes of `document` that this project hashes: sorted keys, no blanks, UTF-8, no final line break."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises ImageError where the file is missing, does not parse or is no object."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}", "name an existing JSON file") from error
    except ValueError as error:
        raise ImageError(f"{path} is not JSON: {error}", "correct the file") from error
    if not isinstance(document, dict):
        raise ImageError(f"{path} holds a JSON {type(document).__name__}, wanted an object", "correct the file")
    return document


def reject_unknown(where: str, got: Collection[str], known: Collection[str]) -> None:
    """Raise ImageError when `got` has a key that is not in `known`; `where` names the file and the place in it."""
    unknown = sorted(set(got) - set(known))
    if unknown:
        raise ImageError(f"{where} has the unknown key {', '.join(unknown)}", f"known are {', '.join(sorted(known))}")


def string(where: str, value: object) -> str:
    """`value` as a non-empty string, or ImageError with `where`."""
    if not isinstance(value, str) or not value.strip():
        raise ImageError(f"{where} is {value!r}, wanted a non-empty string", "correct the file")
    return value


def strings(where: str, value: object) -> tuple[str, ...]:
    """`value` as a tuple of strings, or ImageError with `where`."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ImageError(f"{where} is {value!r}, wanted a list of strings", "correct the file")
    return tuple(value)


def table(where: str, value: object) -> dict[str, str]:
    """`value` as a table of strings, or ImageError with `where`."""
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ImageError(f"{where} is {value!r}, wanted an object of strings", "correct the file")
    return dict(value)


def whole(where: str, value: object) -> int:
    """`value` as a whole number of zero or more, or ImageError with `where`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ImageError(f"{where} is {value!r}, wanted a whole number", "correct the file")
    return value
