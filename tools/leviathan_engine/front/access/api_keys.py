"""Parses API keys: names, keys, limits.

A key source has one key per line, `KEY` or `NAME KEY [OPTION=NUMBER ...]`; lines that begin with `#` are comments:

    alice  sk-5f0c...  requests=60 tokens=200000 parallel=2

`requests` and `tokens` are limits per minute, `parallel` is the maximum number of running and waiting requests.
Missing options do not limit.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from leviathan_engine.errors import UsageError

# Characters that a header may contain without quoting. Short keys are accepted: their strength is the user's choice.
KEY = re.compile(r"[!-~]{1,512}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
OPTIONS = ("requests", "tokens", "parallel")


@dataclass(frozen=True)
class ApiKey:
    """One key: `name` is for logs and metrics, `requests` and `tokens` are limits per minute; None does not limit."""

    name: str
    secret: bytes = field(repr=False)
    requests: int | None = None
    tokens: int | None = None
    parallel: int | None = None

    @property
    def scope(self) -> str:
        """The scope of the prefix cache: prompts of this key share it, also if a reload changes the key's name."""
        return blake2b(self.secret, digest_size=16).hexdigest()


def parse_keys(text: str, source: str) -> tuple[ApiKey, ...]:
    """Parses the keys of a file's text. `source` names it in errors, which never show a key. Errors: UsageError."""
    keys: list[ApiKey] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words and not words[0].startswith("#"):
            keys.append(_key(words, len(keys) + 1, f"{source}, line {number}"))
    for what, values in (("name", [key.name for key in keys]), ("key", [key.secret for key in keys])):
        if len(set(values)) < len(values):
            raise UsageError(f"{source}: the same {what} occurs twice", f"give every client its own {what}")
    return tuple(keys)


def _key(words: Sequence[str], position: int, where: str) -> ApiKey:
    name, secret = (f"key{position}", words[0]) if len(words) == 1 else words[:2]
    if not KEY.fullmatch(secret):
        raise UsageError(
            f"{where}: expected a key of 1 to 512 printable ASCII characters", "generate one: openssl rand -hex 24"
        )
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{where}: expected a name of letters, digits and ._@- before the key",
            "write the line as: NAME KEY",
        )
    options: dict[str, int] = {}
    for word in words[2:]:
        option, _, value = word.partition("=")
        if option not in OPTIONS or not re.fullmatch(r"[1-9][0-9]{0,11}", value) or option in options:
            raise UsageError(
                f"{where}: expected {', '.join(f'{one}=NUMBER' for one in OPTIONS)} after the key, got {option[:20]!r}",
                "write lines as: NAME KEY requests=60 tokens=200000 parallel=2",
            )
        options[option] = int(value)
    return ApiKey(name, secret.encode("ascii"), **options)
