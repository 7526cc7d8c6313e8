"""Routes that answer wrongly, and the failure of a smoke test."""

import itertools
from typing import Any

import pytest
from smoke_support import (
    TEXT,
    Route,
    smoke_site,
    talking,
    whole,
)

from leviathan.smoke.checks import CHECKS
from leviathan.smoke.result import SmokeError, State
from leviathan.smoke.suite import run

HTML = "<!doctype html><html><body>Welcome to nginx!</body></html>"
NAMES = [check.name for check in CHECKS]


def say(status: int, content: Any) -> Route:
    return lambda reply, body: reply.json(status, content)


def page(reply: Any, body: Any) -> None:
    reply.send(200, HTML, "text/html; charset=utf-8")


def events(*found: Any, end: bool = True) -> Route:
    return lambda reply, body: reply.events(list(found), between_s=0.002, end=end)


def without(**absent: Any) -> dict[str, Any]:
    content = whole({"text": TEXT})
    content["choices"][0] |= absent
    return content


def turns(*texts: str) -> Route:
    each = itertools.cycle(texts)
    return lambda reply, body: reply.json(200, whole({"text": next(each)}))


def failure(url: str, **named: str) -> tuple[SmokeError, str]:
    console, talk = talking()
    with pytest.raises(SmokeError) as caught:
        run(smoke_site(**named), {}, console, url=url)
    assert [check.name for check in caught.value.smoked.checks] == NAMES
    assert caught.value.exit_code == 8
    return caught.value, talk.getvalue()


def bad(error: SmokeError) -> list[str]:
    return [check.name for check in error.smoked.checks if check.state is State.FAILED]
