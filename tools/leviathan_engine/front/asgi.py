"""ASGI helpers: reads a body within limits, parses its JSON, and detects that the client has disconnected."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, Protocol

from starlette.types import Receive

from leviathan_engine.front.api_error import ApiError, bad

from .bodies import Bodies, Unfinished
from .body_limit import BodyLimit, Outline, too_large

BODY_SECONDS = 60.0


class ClientGone(Exception):
    """The client closed its connection before its answer was complete."""


async def read_body(receive: Receive, limit: BodyLimit, bodies: Bodies) -> bytes:
    """Reads the body; `bodies` bounds the sum of all bodies. Errors: ApiError 408, 413, 503; ClientGone."""
    body = bodies.begin()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            await _read(receive, limit, bodies, body)
            return b"".join(body.pieces)
    except TimeoutError as err:
        raise ApiError(
            408,
            f"the request body did not arrive within {BODY_SECONDS:g} s",
            code="request_timeout",
            headers={"connection": "close"},
        ) from err
    finally:
        bodies.end(body)


def parse_json(raw: bytes) -> Any:
    """Parses the body as JSON. Errors: ApiError 400."""
    try:
        return _JSON.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError) as err:
        raise bad(f"the request body is not JSON: {_why(err)}", code="invalid_json") from err


class Answer(Protocol):
    """An answer that knows whether it is complete."""

    @property
    def complete(self) -> bool:
        """Whether all of it is sent."""


async def or_gone(receive: Receive, work: Coroutine[Any, Any, None], answer: Answer) -> None:
    """Runs `work`, and cancels it if the client disconnects before its `answer` is complete.

    Errors: those of `work`; ClientGone.
    """
    doing = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_gone(receive, answer))
    try:
        await asyncio.wait({doing, watching}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done() and watching.result():
            raise ClientGone
        await doing
    finally:
        for task in (doing, watching):
            task.cancel()
        await asyncio.gather(doing, watching, return_exceptions=True)


async def _read(receive: Receive, limit: BodyLimit, bodies: Bodies, body: Unfinished) -> None:
    outline = Outline()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece = message.get("body", b"")
        bodies.grow(body, piece)
        if body.size > limit.whole:
            raise too_large(f"the request body is larger than {limit.whole} bytes")
        outline.feed(piece)
        if outline.size > limit.outline:
            raise too_large(f"the request body has more than {limit.outline} bytes outside of strings")
        if not message.get("more_body", False):
            return


async def _gone(receive: Receive, answer: Answer) -> bool:
    """Waits until the connection or the answer ends, and returns whether the connection ended first.

    ASGI does not distinguish the two. `answer.complete` must be read immediately, because messages to a closed
    connection are dropped, and count as sent.
    """
    while (await receive())["type"] != "http.disconnect":
        pass
    return not answer.complete


class _NotANumber(ValueError):
    """NaN or Infinity, which JSON does not allow."""


def _no_constant(name: str) -> None:
    raise _NotANumber(f"{name} is not a JSON number")


_JSON = json.JSONDecoder(parse_constant=_no_constant)


def _why(err: ValueError | RecursionError) -> str:
    """Returns what is wrong with a body, without the text of Python's errors."""
    match err:
        case RecursionError():
            return "nested too deeply"
        case json.JSONDecodeError():
            return f"{err.msg[:1].lower()}{err.msg[1:]} in line {err.lineno}, column {err.colno}"
        case UnicodeDecodeError():
            return f"it is not UTF-8 at byte {err.start}"
        case _NotANumber():
            return str(err)
    return "a number has too many digits"
