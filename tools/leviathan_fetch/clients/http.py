"""Downloads files over HTTP for hosts without apt or pip, with range requests and retries.

RFC 9110 §14 (range requests). The caller checks hashes.
"""

import base64
import errno
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from leviathan_fetch.errors import FetchError
from leviathan_fetch.proxies import ProxyRefused, proxy_for

ATTEMPTS = 5
TIMEOUT = 60.0
PIECE = 1 << 18
#: Bytes of an index's page: the longest of any project's is a tenth of it. And seconds that it may take.
PAGE = 64 << 20
PAGE_S = 300.0
#: Bytes of a file whose size no lock knows: the largest wheels have 3 GB. And bytes a second that must come on average,
#: once an attempt has taken SLOW_S seconds, because an answer that drips forever is useless.
FILE = 16 << 30
LEAST_RATE = 1 << 10
SLOW_S = 60.0
NETWORK = "check the network and the address, then run it again: finished parts are kept"


class Again(Exception):
    """A transient error of an attempt."""


def request(url: str, headers: dict[str, str]) -> urllib.request.Request:
    """A GET of `url`; a user and password in it become an Authorization header."""
    parts = urlsplit(url)
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = {**headers, "Authorization": "Basic " + base64.b64encode(login.encode()).decode()}
        url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return urllib.request.Request(url, headers={"User-Agent": "leviathan-fetch", **headers})


class _Proxies(urllib.request.BaseHandler):
    """Chooses the proxy by host, also for the address that a redirect names; urllib's own handler knows no networks."""

    handler_order = 100  # before those that connect

    def http_open(self, request: urllib.request.Request) -> None:
        proxy = proxy_for(request.full_url, os.environ)
        if proxy is None:
            return
        if proxy.scheme != "http":
            text = f"the proxy {proxy.address} of {proxy.source} needs TLS, which urllib does not support for proxies"
            raise FetchError(text, f"use an HTTP proxy, or add {request.host} to NO_PROXY", "network")
        if proxy.has_login:
            login = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
            request.add_unredirected_header("Proxy-Authorization", f"Basic {login}")
        request.set_proxy(proxy.netloc, "http")

    https_open = http_open


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects; a user and password do not go to another host with them."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None and urlsplit(new.full_url)[:2] != urlsplit(req.full_url)[:2]:
            new.remove_header("Authorization")
        return new


def opened(wanted: urllib.request.Request) -> Any:
    """The answer to a request, as urllib gives it. Errors: urllib's; FetchError for a proxy that cannot be used."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Proxies(), _Redirects())
    try:
        return opener.open(wanted, timeout=TIMEOUT)
    except ProxyRefused as refused:
        raise FetchError(f"{refused.what} ({refused.where}): {refused.why}", refused.remedy, "network") from None


def public(url: str) -> str:
    """`url` without the user and password in it, for messages."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def retried(url: str, attempt: Callable[[], Any], sleep: Callable[[float], None]) -> Any:
    """What `attempt` returns, tried up to five times with pauses of 0.5, 1, 2 and 4 seconds.

    Errors: FetchError of kind ``gone`` (404, 410), ``disk`` or ``network``.
    """
    trouble = ""
    proxy = _proxy_text(url)
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
            if isinstance(reason, socket.gaierror) and reason.errno != socket.EAI_AGAIN:
                what = f"{public(url)}{proxy}: the name does not resolve ({reason.strerror})"
                raise FetchError(what, NETWORK, "network") from None
            trouble = str(reason) or type(reason).__name__
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                what = f"no space left while downloading {public(url)}"
                raise FetchError(what, "free some disk space and run it again", "disk") from None
            trouble = str(error)
    raise FetchError(f"cannot download {public(url)}{proxy} in {ATTEMPTS} attempts: {trouble}", NETWORK, "network")


def _proxy_text(url: str) -> str:
    """Which proxy is between here and `url`, for messages; empty for none."""
    try:
        proxy = proxy_for(url, os.environ)
    except ProxyRefused:
        return ""  # the attempt says it
    return f" through the proxy {proxy.address} of {proxy.source}" if proxy is not None else ""


def read(url: str, accept: str, sleep: Callable[[float], None] = time.sleep) -> tuple[bytes, str, str]:
    """Body, media type (lower case, no parameters) and final address of the page at `url`. Errors: see `retried`."""

    def attempt() -> tuple[bytes, str, str]:
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        ends = time.monotonic() + PAGE_S
        with opened(request(url, headers)) as answer:
            body = bytearray()
            while piece := answer.read1(PIECE):
                body += piece
                if len(body) > PAGE or time.monotonic() > ends:
                    what = f"{public(url)} is larger than {PAGE >> 20} MiB, or takes longer than {PAGE_S:.0f} s"
                    raise FetchError(what, NETWORK, "network")
            return bytes(body), answer.headers.get_content_type(), answer.url

    result: tuple[bytes, str, str] = retried(url, attempt, sleep)
    return result


def download(url: str, target: Path, sleep: Callable[[float], None] = time.sleep, *, size: int | None = None) -> None:
    """Downloads the file at `url` to `target`, and resumes at the end of `target`; `size` is its size in the lock.

    Errors: see `retried`, and FetchError of kind ``hash`` for more bytes than that (None: than FILE). Received bytes
    stay, except for a file that is too large.
    """

    def attempt() -> None:
        began, most = time.monotonic(), FILE if size is None else size
        have = target.stat().st_size if target.exists() else 0
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        try:
            with opened(request(url, headers)) as answer:
                append = answer.status == 206
                if append and not str(answer.headers.get("Content-Range")).startswith(f"bytes {have}-"):
                    target.unlink()
                    raise Again("the server sent another range than requested")
                length = answer.headers.get("Content-Length")
                come, before = 0, have if append else 0
                with target.open("ab" if append else "wb") as out:
                    while piece := answer.read1(PIECE):
                        out.write(piece)
                        come += len(piece)
                        if before + come > most:
                            raise _too_large(url, target, most, size)
                        took = time.monotonic() - began
                        if took > SLOW_S and come < took * LEAST_RATE:
                            raise Again(f"received only {come} bytes in {took:.0f} s")
        except urllib.error.HTTPError as error:
            if error.code != 416:
                raise
            target.unlink()
            raise Again("the server refused to resume the partial file") from None
        there = target.stat().st_size
        wanted = int(length) + (have if append else 0) if length and length.isdecimal() else None
        if wanted is not None and there != wanted:
            raise Again(f"cut off at {there} of {wanted} bytes")

    retried(url, attempt, sleep)


def _too_large(url: str, target: Path, most: int, size: int | None) -> FetchError:
    target.unlink(missing_ok=True)
    known = f"the lock has {size}" if size is not None else "which no package has"
    return FetchError(f"{public(url)} sends more than {most} bytes: {known}", "check the address, or make lock", "hash")
