"""What a registry's answers say: of an upload under way, and of a blob or manifest that it has.

Source: OCI distribution specification 1.1, "Push".
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import httpx


@dataclass(frozen=True)
class Session:
    """An upload under way: where to send, how many bytes the registry has, the smallest chunk it takes."""

    location: str
    offset: int
    min_chunk: int = 0


@dataclass(frozen=True)
class Present:
    """A blob or manifest that the registry has: its size in bytes and digest, as far as it says."""

    size: int | None
    digest: str


def received(headers: Mapping[str, str]) -> int | None:
    """Bytes that the registry has by its Range header (`0-1023`, also `bytes=0-1023`); None when it does not say.

    `0-0` is what registries send for none as well as for one byte; it is read as none.
    """
    match = re.fullmatch(r"(?:bytes=)?\s*0-([0-9]{1,18})", headers.get("range", ""))
    if match is None:
        return None
    return int(match[1]) + 1 if int(match[1]) > 0 else 0


def with_digest(location: str, digest: str) -> str:
    """An upload's URL with the digest added to whatever query it has."""
    parts = urlsplit(location)
    query = f"{parts.query}&" if parts.query else ""
    return urlunsplit(parts._replace(query=f"{query}digest={quote(digest, safe=':')}"))


def present(response: httpx.Response) -> Present:
    """What an answer to a HEAD says."""
    length = response.headers.get("content-length", "")
    return Present(natural(length), response.headers.get("docker-content-digest", ""))


def natural(text: str) -> int | None:
    """The number that a header's value is; None when it is none, or longer than any that makes sense."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def parsed(response: httpx.Response) -> Any:
    """An answer's body as JSON; None when it is none."""
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return None


def error_text(response: httpx.Response) -> str:
    """What a registry says about an error: its code and message, else the start of the body, else the status."""
    try:
        first = parsed(response)["errors"][0]
        detail = first.get("detail")
        text = f"{first.get('code', '')} {first.get('message', '')}{f' {detail}' if detail else ''}".strip()
    except (KeyError, IndexError, TypeError, AttributeError):
        text = " ".join(response.content[:2000].decode("utf-8", "replace").split())
    return text[:300] or response.reason_phrase or "without a reason"


def registry_errors(response: httpx.Response) -> bool:
    """Whether the answer has a registry's list of errors. Source: OCI distribution specification, "Error Codes"."""
    body = parsed(response)
    return isinstance(body, dict) and isinstance(body.get("errors"), list)
