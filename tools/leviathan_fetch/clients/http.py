"""Plain HTTP for hosts without apt or pip: a file by its address, resumed by Range, retried, never trusted.

RFC 9110 §14 (range requests). Hashes are checked by the caller.
"""

import base64
import errno
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from leviathan_fetch.errors import FetchError

ATTEMPTS = 5
TIMEOUT = 60.0
PIECE = 1 << 18
NETWORK = "check the network and the address, then run it again: finished parts are kept"


class Again(Exception):
    """An attempt failed in a way that another may not."""


def request(url: str, headers: dict[str, str]) -> urllib.request.Request:
    """A GET of `url`; a user and password in it become an Authorization header."""
    parts = urlsplit(url)
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = {**headers, "Authorization": "Basic " + base64.b64encode(login.encode()).decode()}
        url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return urllib.request.Request(url, headers={"User-Agent": "leviathan-fetch", **headers})


def public(url: str) -> str:
    """`url` without the user and password in it, for messages."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def retried(url: str, attempt: Callable[[], Any], sleep: Callable[[float], None]) -> Any:
    """What `attempt` returns, tried up to five times with pauses of 0.5, 1, 2 and 4 seconds.

    Errors: FetchError of kind ``gone`` (404, 410), ``disk`` or ``network``.
    """
    trouble = ""
    for turn in range(ATTEMPTS):
        if turn:
            sleep(0.5 * 2 ** (turn - 1))
        try:
            return attempt()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in (404, 410):
                raise FetchError(f"{public(url)} is not there (HTTP {error.code})", "make lock", "gone") from None
            if error.code in (401, 403, 407):
                raise FetchError(f"{public(url)} is refused (HTTP {error.code})", NETWORK, "network") from None
            trouble = f"HTTP {error.code}"
        except Again as error:
            trouble = str(error)
        except (HTTPException, urllib.error.URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, FileNotFoundError):
                raise FetchError(f"{public(url)} is not there", "make lock", "gone") from None
            trouble = str(reason) or type(reason).__name__
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                what = f"no space left while {public(url)} came in"
                raise FetchError(what, "free some disk space and run it again", "disk") from None
            trouble = str(error)
    raise FetchError(f"{public(url)} did not come through in {ATTEMPTS} tries: {trouble}", NETWORK, "network")


def read(url: str, accept: str, sleep: Callable[[float], None] = time.sleep) -> tuple[bytes, str, str]:
    """Body, media type (lower case, no parameters) and final address of the page at `url`. Errors: see `retried`."""

    def attempt() -> tuple[bytes, str, str]:
        with urllib.request.urlopen(request(url, {"Accept": accept}), timeout=TIMEOUT) as answer:
            return answer.read(), answer.headers.get_content_type(), answer.url

    result: tuple[bytes, str, str] = retried(url, attempt, sleep)
    return result


def download(url: str, target: Path, sleep: Callable[[float], None] = time.sleep) -> None:
    """Bring the file at `url` to `target`, going on where `target` ends. Errors: see `retried`; what came stays."""

    def attempt() -> None:
        have = target.stat().st_size if target.exists() else 0
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        try:
            with urllib.request.urlopen(request(url, headers), timeout=TIMEOUT) as answer:
                append = answer.status == 206
                if append and not str(answer.headers.get("Content-Range")).startswith(f"bytes {have}-"):
                    target.unlink()
                    raise Again("the server sent another range than asked for")
                length = answer.headers.get("Content-Length")
                with target.open("ab" if append else "wb") as out:
                    while piece := answer.read(PIECE):
                        out.write(piece)
        except urllib.error.HTTPError as error:
            if error.code != 416:
                raise
            target.unlink()
            raise Again("the partial file did not fit") from None
        size = target.stat().st_size
        wanted = None if length is None else int(length) + (have if append else 0)
        if wanted is not None and size != wanted:
            raise Again(f"cut off at {size} of {wanted} bytes")

    retried(url, attempt, sleep)
