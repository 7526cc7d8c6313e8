"""Reads the front's limits from the environment; the launcher also checks them before it starts the front.

LEVIATHAN_QUEUE (waiting requests), LEVIATHAN_MAX_BODY (bytes), LEVIATHAN_CONNECTIONS, LEVIATHAN_CLIENT_SECONDS (until a
client that does not read is disconnected), LEVIATHAN_HOSTS (more names of this server, separated by commas),
LEVIATHAN_MODEL_ALIASES (more names of the model, separated by commas), LEVIATHAN_ANY_MODEL=1 (answer requests for any
model), LEVIATHAN_UNKNOWN_FIELDS (refuse; or ignore, and list unknown fields in a header). Keys, CORS and TLS:
access/settings.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from leviathan_engine.environment import one_of
from leviathan_engine.errors import UsageError


@dataclass(frozen=True)
class Limits:
    """Maximum number of `waiting` requests; `body` in bytes, None: as large as the context needs.

    Maximum number of `connections`; `client_seconds` until a client that does not read is disconnected; `hosts` are
    more names of this server, for requests without a key. `Served` describes `aliases`, `any_model` and
    `ignore_unknown`.
    """

    waiting: int = 64
    body: int | None = None
    aliases: tuple[str, ...] = ()
    any_model: bool = False
    ignore_unknown: bool = False
    connections: int = 1024
    client_seconds: int = 30
    hosts: tuple[str, ...] = ()


def limits(environ: Mapping[str, str]) -> Limits:
    """Returns the limits from the environment. Errors: UsageError that names the variable."""
    return Limits(
        waiting=_whole(environ, "LEVIATHAN_QUEUE") or Limits().waiting,
        body=_whole(environ, "LEVIATHAN_MAX_BODY"),
        aliases=tuple(filter(None, map(str.strip, environ.get("LEVIATHAN_MODEL_ALIASES", "").split(",")))),
        any_model=one_of(environ, "LEVIATHAN_ANY_MODEL", ("0", "1")) == "1",
        ignore_unknown=one_of(environ, "LEVIATHAN_UNKNOWN_FIELDS", ("refuse", "ignore")) == "ignore",
        connections=_whole(environ, "LEVIATHAN_CONNECTIONS") or Limits.connections,
        client_seconds=_whole(environ, "LEVIATHAN_CLIENT_SECONDS") or Limits.client_seconds,
        hosts=tuple(filter(None, map(str.strip, environ.get("LEVIATHAN_HOSTS", "").split(",")))),
    )


def _whole(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name, "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) > 0):
        raise UsageError(f"{name}: expected an integer above 0, got {text[:40]!r}", f"correct or unset {name}")
    return int(text) if text else None
