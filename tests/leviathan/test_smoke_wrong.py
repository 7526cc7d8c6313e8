"""Endpoints that answer wrongly, each in one way: the check that fails is the one that should, and says what it got."""

import pytest
from smoke_failures import HTML, NAMES, bad, events, failure, page, say, turns, without
from smoke_support import (
    MODEL,
    TEXT,
    Route,
    chat,
    chunk,
    endpoint,
    pieces,
    smoke_site,
    talking,
    usage,
    whole,
)

from leviathan.smoke.result import State
from leviathan.smoke.suite import run


def test_right_endpoint_passes() -> None:
    """The positive control of every test below."""
    console, talk = talking()
    with endpoint() as url:
        done = run(smoke_site(), {}, console, url=url)
    assert [check.state for check in done.checks] == [State.PASSED] * len(NAMES)
    assert done.measured is not None
    assert (done.measured.tokens, done.measured.pieces) == (10, 10)
    assert done.measured.rate is not None
    assert done.measured.rate < 9 / 0.018
    assert done.measured.first_s >= 0.004
    assert not done.changed
    assert f"{url} answers as {MODEL}: 7 checks passed in " in done.text()
    assert " tokens/s" in done.text()
    assert [line.split()[2] for line in talk.getvalue().splitlines()] == NAMES


STREAM: list[tuple[Route, str]] = [
    (say(200, chat()), "got 200 application/json: "),
    (say(500, {"error": {"message": "out of memory"}}), "got 500 application/json: "),
    (page, "got 200 text/html: <!doctype html>"),
    (events(*pieces()[:5], end=False), "4 pieces before: \"abcd\""),
    (events(*pieces()[:-1]), "a stream that ends without [DONE]"),
    (events(*pieces(), chunk({"content": "k"})), "an event after [DONE]"),
    (events(*pieces()[:-3], *pieces()[-2:]), "a stream without finish_reason (10 pieces before"),
    (events(*pieces()[:-2], "[DONE]"), "a stream without usage"),
    (events(*pieces()[:-1], pieces()[-2], "[DONE]"), "a second usage"),
    (events(*pieces()[:-3], *pieces()[-3:-1], chunk({"content": "k"}), "[DONE]"), "more after finish_reason length"),
    (events(*pieces()[:-2], chunk({}, choices=[], usage={**usage(), "total_tokens": 1}), "[DONE]"), "does not add up"),
    (events(*pieces()[:-2], chunk({}, choices=[], usage=usage(9)), "[DONE]"), "but without streaming: \"abcdefghij\""),
    (events(*pieces()[:4], *pieces()[5:]), "got \"abcefghij\", length, 10 tokens; but without streaming"),
    (lambda reply, body: reply.reset(), "a broken connection after"),
    (events(*pieces()[:3], "{", *pieces()[3:]), "an event that is not JSON: { (2 pieces before"),
    (events(*pieces()[:3], {"error": {"message": "the engine has gone"}}), "not a chunk of a chat: {\"error\""),
    (events(*pieces()[:3], chunk({"content": "x"}, id="other")), "a chunk of another answer or model"),
    (events(*pieces()[:3], chunk({"content": "x"}, model="other")), "a chunk of another answer or model"),
    (events(*pieces()[:3], chunk("x")), "a chunk without a delta"),
    (events(*pieces()[:3], chunk({"content": 1})), "a chunk without a delta"),
]  # fmt: skip
WRONG: list[tuple[str, str, Route, str]] = [
    ("health", "health", say(500, {"status": "failed"}), "got 500 application/json: {\"status\": \"failed\"}"),
    ("health", "health", say(200, {"status": "loading"}), "got 200 application/json: {\"status\": \"loading\"}"),
    ("health", "health", page, "got 200 text/html: <!doctype html><html><body>Welcome to nginx!"),
    (
        "health",
        "health",
        say(503, {"status": "loading", "phase": "reading", "detail": "", "percent": 43.1, "estimate_seconds": 90.4}),
        "got 503, loading: reading, 43.1 %, about 90 s left",
    ),
    ("health", "health", lambda reply, body: reply.head(302, "", {"Location": "/", "Content-Length": "0"}), "302 "),
    ("health", "health", lambda reply, body: reply.reset(), "a broken connection after"),
    ("models", "models", say(200, {"data": []}), "expected the model letters in /v1/models, got an empty list"),
    ("models", "models", say(200, {"data": [{"id": "llama"}, {"id": "b"}]}), "got the models llama, b"),
    ("models", "models", say(200, {"models": []}), "got 200 application/json"),
    ("models", "models", say(401, {"error": {"message": "the API key is missing"}}), "got 401 application/json"),
    ("completion", "completion", turns("abcd", "abXd"), "differ after 2 characters: \"cd\" and then \"Xd\""),
    ("completion", "completion", turns("abcd", "abc"), "got \"abcd\", length, 10 tokens and then \"abc\""),
    ("completion", "completion", say(200, without(text="")), "an answer without text"),
    ("completion", "completion", say(200, without(text=7)), "a text that is not a string: 7"),
    ("completion", "completion", say(200, without(finish_reason=None)), "with finish_reason None"),
    ("completion", "completion", say(200, whole({"text": TEXT}, usage=None)), "usage that is not an object: null"),
    ("completion", "completion", say(200, whole({"text": TEXT}, usage=usage(0))), "a usage that does not add up"),
    ("completion", "completion", say(200, {"choices": []}), "got 200 application/json: {\"choices\": []}"),
    ("completion", "completion", say(500, {"error": {"message": "CUDA error"}}), "got 500 application/json"),
    ("completion", "completion", lambda reply, body: reply.send(200, "{"), "got 200 application/json: {"),
    ("chat", "stream", say(500, {"error": {}}), "got 500 application/json"),
    ("chat", "stream", say(200, chat("abcdefghiX")), "but without streaming: \"abcdefghiX\""),
    ("refusal", "refusal", say(200, chat()), "got 200 application/json"),
    ("refusal", "refusal", say(500, {"error": {"message": "internal"}}), "got 500 application/json"),
    ("refusal", "refusal", say(401, {"error": {"message": "no key"}}), "got 401 application/json"),
    ("refusal", "refusal", say(404, {"detail": "Not Found"}), "got 404 application/json: {\"detail\""),
    ("refusal", "refusal", lambda reply, body: reply.send(400, HTML, "text/html"), "got 400 text/html"),
    *(("stream", "stream", wrong, words) for wrong, words in STREAM),
]  # fmt: skip


@pytest.mark.parametrize(("route", "check", "wrong", "words"), WRONG)
def test_wrong_answer(route: str, check: str, wrong: Route, words: str) -> None:
    """That check fails, no other, and the error has what was received."""
    with endpoint(0, **{route: wrong}) as url:
        error, talk = failure(url)
    assert bad(error) == [check]
    assert words in error.line()
    assert error.line().startswith(f"smoke check {check} failed ({url}): expected ")
    assert "; fix: " in error.line()
    assert f"failed  {check}" in talk


def test_measurement_needs_a_stream() -> None:
    with endpoint(stream=say(500, {})) as url:
        error, _ = failure(url)
    last = error.smoked.checks[-2:]
    assert [check.state for check in last] == [State.SKIPPED, State.SKIPPED]
    assert last[0].received == "there is no measurement, because the check stream failed"


def test_stream_that_is_held_back() -> None:
    """All comes at once at the end: no stream, and nothing to take a rate from."""
    with endpoint(stream=events(pieces()[0], chunk({"content": TEXT}), *pieces()[-3:])) as url:
        error, _ = failure(url)
    assert bad(error) == ["stream", "rate"]
    assert "got all 10 tokens in one piece: a proxy in between buffers the stream" in error.line()
    assert error.smoked.checks[-1].received == "10 tokens at the same moment, so the rate cannot be measured"


def test_all_failed_checks_are_reported() -> None:
    with endpoint(health=page, completion=page, refusal=say(200, {})) as url:
        error, talk = failure(url)
    assert bad(error) == ["health", "completion", "refusal"]
    assert error.line().startswith(f"smoke check health failed (3 of 7 checks failed) ({url}): expected 200")
    assert "also failed: completion, refusal" in error.line()
    assert talk.count("smoke: failed ") == 3
    assert [check["state"] for check in error.report()["checks"]].count("passed") == 4


def test_slow_tokens_miss_the_floors() -> None:
    """Both floors, and both hold where the same endpoint is fast enough."""
    with endpoint(stream=lambda reply, body: reply.events(pieces(), between_s=0.05)) as url:
        error, _ = failure(url, smoke_min_tokens_per_s="100", smoke_max_ttft_s="0.05")
        assert bad(error) == ["first-token", "rate"]
        assert "expected the first token within 0.05 s, got 0.1" in error.line()
        rate = error.smoked.checks[-1]
        assert rate.wanted == "at least 100 tokens/s"
        assert 5 < float(rate.received.split()[0]) < 20
        console, _ = talking()
        site = smoke_site(smoke_min_tokens_per_s="5", smoke_max_ttft_s="2")
        assert run(site, {}, console, url=url).measured is not None


def test_received_text_cannot_speak_to_the_terminal() -> None:
    with endpoint(models=lambda reply, body: reply.send(200, "\x1b[2J\x07 gone\r\n" * 99, "text/plain\x1b[1m")) as url:
        error, talk = failure(url)
    assert "gone" in error.line()
    assert "\x1b" not in error.line() + talk
    assert max(map(len, talk.splitlines())) < 400
