"""Parses a registry's answers: the state of an upload, and whether it has a blob or manifest.

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
    """An upload in progress: the URL, how many bytes the registry has, the smallest chunk that it accepts."""

    location: str
    offset: int
    min_chunk: int = 0


@dataclass(frozen=True)
class Present:
    """A blob or manifest in the registry: its size in bytes and digest, if the registry tells them."""

    size: int | None
    digest: str


def received(headers: Mapping[str, str]) -> int | None:
    """The number of bytes in the registry's Range header (`0-1023`, also `bytes=0-1023`); None if there is none.

    Registries send `0-0` both for no bytes and for one byte. It is read as no bytes.
    """
    match = re.fullmatch(r"(?:bytes=)?\s*0-([0-9]{1,18})", headers.get("range", ""))
    if match is None:
        return None
    return int(match[1]) + 1 if int(match[1]) > 0 else 0


def with_digest(location: str, digest: str) -> str:
    """An upload's URL with the digest added to its query."""
    parts = urlsplit(location)
    query = f"{parts.query}&" if parts.query else ""
    return urlunsplit(parts._replace(query=f"{query}digest={quote(digest, safe=':')}"))


def present(response: httpx.Response) -> Present:
    """The size and digest in the answer to a HEAD request."""
    length = response.headers.get("content-length", "")
    return Present(natural(length), response.headers.get("docker-content-digest", ""))


def natural(text: str) -> int | None:
    """The integer in a header's value; None if it is not an integer, or implausibly long."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def parsed(response: httpx.Response) -> Any:
    """An answer's body as JSON; None if it is not JSON."""
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        return None


def error_text(response: httpx.Response) -> str:
    """A registry's error message: its code and message, else the start of the body, else the status.

    Of a web page, such as that of a proxy or of a server that is not a registry, its title.
    """
    try:
        first = parsed(response)["errors"][0]
        detail = first.get("detail")
        text = f"{first.get('code', '')} {first.get('message', '')}{f' {detail}' if detail else ''}".strip()
    except (KeyError, IndexError, TypeError, AttributeError):
        text = " ".join(response.content[:2000].decode("utf-8", "replace").split())
        if "html" in response.headers.get("content-type", ""):
            title = re.search(r"<title>(.*?)</title>", text, re.IGNORECASE)
            text = f"a web page, {title[1].strip()!r}" if title else "a web page"
    return text[:300] or response.reason_phrase or "without a reason"


def registry_errors(response: httpx.Response) -> bool:
    """Whether the answer has a registry's list of errors. Source: OCI distribution specification, "Error Codes"."""
    body = parsed(response)
    return isinstance(body, dict) and isinstance(body.get("errors"), list)
