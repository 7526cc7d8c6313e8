"""HTTP requests to the endpoint: answers with a deadline and a size limit, and streams of events."""

import codecs
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx

from leviathan import __version__
from leviathan.errors import UsageError
from leviathan.http_client import HEADERS, BadAnswer, Bounds, ByHost
from leviathan.registry.http_transport import tls_context
from leviathan.smoke.result import Unjudged, Wrong

#: Maximum bytes of an answer or a stream. No correct answer is longer.
MOST = 4 << 20
CONNECT_S = 10.0


class Unreachable(Unjudged):
    """Nothing accepts connections at the address."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: its status, content type (without parameters) and body."""

    status: int
    kind: str
    body: bytes

    def text(self) -> str:
        """The answer in one line, for errors."""
        start = shown(self.body.decode("utf-8", "replace"))
        return f"{self.status} {self.kind or 'without a content type'}{f': {start}' if start else ', empty'}"

    def json(self) -> Any:
        """The body as JSON. Errors: Wrong if it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise Wrong(self.text()) from None

    def object(self, status: int = 200) -> dict[str, Any]:
        """The body as a JSON object. Errors: Wrong if it is not one, or if the answer has another status."""
        content = self.json() if self.status == status else None
        if not isinstance(content, dict):
            raise self.wrong()
        return content

    def wrong(self) -> Wrong:
        """The error for this answer. With 401 and 403, the refusal is not about the image."""
        return (Unjudged if self.status in (401, 403) else Wrong)(self.text())


@dataclass(frozen=True)
class Event:
    """The data of one server-sent event, and when it arrived: seconds since the request was sent."""

    data: str
    after_s: float


class Endpoint:
    """One endpoint.

    Arguments: `url`, its base; `key`, the API key or an empty string; `timeout_s`, for one whole answer; `proxies`,
    whether to use the proxies in the environment; `clock` is injected for tests.
    Every request raises Wrong if no complete answer arrives, and Unreachable if no connection is possible.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str = "",
        timeout_s: float,
        proxies: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = base(url)
        self.timeout_s = timeout_s
        self.clock = clock
        self._client = httpx.Client(
            trust_env=False,
            transport=ByHost(
                environ=os.environ if proxies else None,
                verify=tls_context("") if self.url.startswith("https:") else False,
                bounds=Bounds(2 * MOST, timeout_s + 1),  # for the head; the body's own bounds come first
            ),
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_S)),
            headers={
                "User-Agent": f"leviathan/{__version__}",
                **HEADERS,
                **({"Authorization": f"Bearer {key}"} if key else {}),
            },
        )

    def __enter__(self) -> "Endpoint":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str) -> Answer:
        """GET."""
        return self._whole("GET", path, None)

    def post(self, path: str, body: Any) -> Answer:
        """POST of JSON."""
        return self._whole("POST", path, body)

    def stream(self, path: str, body: Any) -> Iterator[Event]:
        """POST JSON, and yield the server-sent events of the answer as they arrive.

        Source of the format: HTML Living Standard, 9.2.6 (only the field `data` is read).
        Errors: Wrong, also if the answer is not an event stream, or is incomplete.
        """
        began = self.clock()
        with self._asked("POST", path, body, began) as response:
            kind = _kind(response)
            if response.status_code != 200 or kind != "text/event-stream":
                raise Answer(response.status_code, kind, self._body(response, began)).wrong()
            lines: list[str] = []
            rest = ""
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            for piece in self._pieces(response, began):
                after = self.clock() - began
                *whole, rest = (rest + decoder.decode(piece)).replace("\r\n", "\n").split("\n")
                for line in whole:
                    if line.startswith("data:"):
                        lines.append(line.removeprefix("data:").removeprefix(" "))
                    elif not line and lines:
                        yield Event("\n".join(lines), after)
                        lines = []
            if rest or lines:
                raise Wrong(f"a stream that ends inside an event: {shown(rest or lines[-1])}")

    def _whole(self, method: str, path: str, body: Any) -> Answer:
        began = self.clock()
        with self._asked(method, path, body, began) as response:
            return Answer(response.status_code, _kind(response), self._body(response, began))

    @contextmanager
    def _asked(self, method: str, path: str, body: Any, began: float) -> Iterator[httpx.Response]:
        content = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            with self._client.stream(method, self.url + path, content=content, headers=headers) as response:
                yield response
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                why = str(error).partition("verify failed: ")[2].partition(" (_ssl")[0]
                text = f"its certificate is not trusted ({shown(why)}): set SSL_CERT_FILE to the PEM file of its CA"
                raise Wrong(text) from None
            raise Unreachable(f"no connection: {shown(str(error)) or 'nothing answers'}") from None
        except BadAnswer as error:
            raise Wrong(str(error)) from None
        except httpx.TimeoutException:
            raise Wrong(f"nothing for {self.clock() - began:.1f} s") from None
        except httpx.RequestError as error:
            raise Wrong(
                f"a broken connection after {self.clock() - began:.1f} s: {shown(str(error)) or type(error).__name__}"
            ) from None

    def _pieces(self, response: httpx.Response, began: float) -> Iterator[bytes]:
        size = 0
        for piece in response.iter_raw():
            size += len(piece)
            if size > MOST:
                raise Wrong(f"{response.status_code} {_kind(response)} of more than {MOST >> 20} MiB")
            yield piece
            if self.clock() - began > self.timeout_s:
                raise Wrong(f"an answer that has not ended after {self.clock() - began:.1f} s ({size} bytes so far)")

    def _body(self, response: httpx.Response, began: float) -> bytes:
        return b"".join(self._pieces(response, began))


def base(url: str) -> str:
    """The base URL of the endpoint, without a trailing slash. Errors: UsageError if `url` is not an HTTP URL."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or parts.username is not None:
        raise UsageError(
            "invalid endpoint address",
            why=f"expected a URL such as http://HOST:PORT, got {shown(url)!r}",
            remedy="--url http://HOST:PORT",
        )
    return url.rstrip("/").removesuffix("/v1")


def shown(text: str, most: int = 160) -> str:
    """`text` in one printable line: whitespace joined, control characters removed, cut at `most` characters."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    return line if len(line) <= most else f"{line[:most]}…"


def _kind(response: httpx.Response) -> str:
    return shown(response.headers.get("content-type", "").split(";")[0].lower(), 60)
