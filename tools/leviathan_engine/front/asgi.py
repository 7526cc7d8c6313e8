"""Small pieces below Starlette: reading a bounded body and its JSON, and noticing that the client has gone."""

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

from starlette.types import Receive

from leviathan_engine.front.api_error import ApiError, bad

from .body import BodyLimit, Outline, too_large

BODY_SECONDS = 60.0


class ClientGone(Exception):
    """The client closed its connection before its answer was complete."""


async def read_body(receive: Receive, limit: BodyLimit) -> bytes:
    """The body's bytes. Errors: ApiError 408, 413; ClientGone."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read(receive, limit)
    except TimeoutError as err:
        raise ApiError(408, f"the body did not come within {BODY_SECONDS:g} s", code="request_timeout") from err


def parse_json(raw: bytes) -> Any:
    """The body as JSON. Errors: ApiError 400."""
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as err:
        why = "nested too deeply" if isinstance(err, RecursionError) else str(err)
        raise bad(f"the body is no JSON: {why}", code="invalid_json") from err


async def or_gone(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Does `work`, and cancels it when the client goes away. Errors: those of `work`; ClientGone."""
    doing = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_until_gone(receive))
    try:
        await asyncio.wait({doing, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ClientGone
        doing.result()
    finally:
        for task in (doing, watching):
            task.cancel()
        await asyncio.gather(doing, watching, return_exceptions=True)


async def _read(receive: Receive, limit: BodyLimit) -> bytes:
    pieces: list[bytes] = []
    size = 0
    outline = Outline()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > limit.whole:
            raise too_large(f"the body is larger than {limit.whole} bytes")
        outline.feed(pieces[-1])
        if outline.size > limit.outline:
            raise too_large(f"the body has more than {limit.outline} bytes outside of strings")
        if not message.get("more_body", False):
            return b"".join(pieces)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
