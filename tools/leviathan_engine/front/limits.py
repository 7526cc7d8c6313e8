"""The front's bounds from the environment, which the launcher checks before it starts the front.

LEVIATHAN_QUEUE (requests that may wait) and LEVIATHAN_MAX_BODY (bytes). Keys, CORS and TLS: access/settings.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from leviathan_engine.errors import UsageError


@dataclass(frozen=True)
class Limits:
    """`waiting` requests in the queue; `body` in bytes, None: what the context needs."""

    waiting: int = 64
    body: int | None = None


def limits(environ: Mapping[str, str]) -> Limits:
    """The limits from the environment. Errors: UsageError that names the variable."""
    return Limits(
        waiting=_whole(environ, "LEVIATHAN_QUEUE") or Limits().waiting,
        body=_whole(environ, "LEVIATHAN_MAX_BODY"),
    )


def _whole(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name, "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) > 0):
        raise UsageError(f"{name} is {text[:40]!r}, a whole number above 0 is wanted", f"correct or unset {name}")
    return int(text) if text else None
