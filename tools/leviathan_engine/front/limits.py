"""The front's settings from the environment, which the launcher checks before it starts the front.

LEVIATHAN_QUEUE (requests that may wait), LEVIATHAN_MAX_BODY (bytes), and LEVIATHAN_API_KEY or LEVIATHAN_API_KEY_FILE.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from leviathan_engine.errors import UsageError


@dataclass(frozen=True)
class Limits:
    """`waiting` requests in the queue; `body` in bytes, None: what the context needs; `api_key` "" asks for none."""

    waiting: int = 64
    body: int | None = None
    api_key: str = ""


def limits(environ: Mapping[str, str]) -> Limits:
    """The limits from the environment. Errors: UsageError that names the variable."""
    path = environ.get("LEVIATHAN_API_KEY_FILE", "")
    try:
        key = Path(path).read_text(encoding="utf-8").strip() if path else environ.get("LEVIATHAN_API_KEY", "")
    except (OSError, ValueError) as err:
        raise UsageError(f"LEVIATHAN_API_KEY_FILE: {path} cannot be read", "mount the secret, or unset it") from err
    if path and not key:
        raise UsageError(f"LEVIATHAN_API_KEY_FILE: {path} is empty", "put the key in it, or unset the variable")
    return Limits(
        waiting=_whole(environ, "LEVIATHAN_QUEUE") or Limits().waiting,
        body=_whole(environ, "LEVIATHAN_MAX_BODY"),
        api_key=key,
    )


def _whole(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name, "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) > 0):
        raise UsageError(f"{name} is {text[:40]!r}, a whole number above 0 is wanted", f"correct or unset {name}")
    return int(text) if text else None
