"""The smoke test against the engine's real front end, with letters in place of a model."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from smoke_support import FrontProcess, smoke_site, talking

from leviathan.errors import UsageError
from leviathan.smoke.result import Smoked, SmokeError, State
from leviathan.smoke.suite import run

# Seconds a token: ten tokens that come at one moment, as on a busy machine without it, have no rate to measure.
PACE = 0.02


@pytest.fixture
def front(tmp_path: Path) -> Iterator[FrontProcess]:
    process = FrontProcess(tmp_path)
    process.letters.delay = PACE
    yield process
    process.close()


def smoke(front: FrontProcess, environ: dict[str, str] | None = None, **named: str) -> tuple[Smoked, str]:
    console, talk = talking()
    return run(smoke_site(**named), environ or {}, console, url=front.url), talk.getvalue()


def failure(front: FrontProcess, environ: dict[str, str] | None = None, **named: str) -> SmokeError:
    with pytest.raises(SmokeError) as caught:
        smoke(front, environ, **named)
    return caught.value


def bad(error: SmokeError) -> list[str]:
    return [check.name for check in error.smoked.checks if check.state is State.FAILED]


def test_front_passes(front: FrontProcess) -> None:
    """Four answers are asked for, all greedy; the numbers are those of the front."""
    front.serve()
    done, talk = smoke(front, smoke_min_tokens_per_s="1", smoke_max_ttft_s="10")
    assert {check.state for check in done.checks} == {State.PASSED}
    assert 'completion  "abcdefghij", length, 10 tokens, twice' in talk
    assert 'stream      "abcdefghij", length, 10 tokens in ' in talk
    assert "refusal     400: messages" in talk
    assert [(job.max_tokens, job.temperature) for job in front.letters.jobs] == [(10, 0.0)] * 4
    assert done.measured is not None
    assert done.measured.tokens == 10
    assert done.measured.rate is not None
    assert done.measured.rate < 100
    assert done.measured.first_s >= PACE


def test_front_whose_answer_ends_by_itself(front: FrontProcess) -> None:
    front.serve()
    done, talk = smoke(front, smoke_max_tokens="64")
    assert '"abcdefghijklmnopqrstuvwxyz", stop, 26 tokens' in talk
    assert done.measured is not None
    assert done.measured.tokens == 26


def test_front_with_a_key(tmp_path: Path) -> None:
    """From the variable and from the file; a missing and a wrong key are told, and never printed."""
    key = "sk-smoke-secret"
    (tmp_path / "key").write_text(key + "\n")
    (tmp_path / "other").write_text("sk-other-secret\n")
    front = FrontProcess(tmp_path, LEVIATHAN_API_KEY=key)
    front.letters.delay = PACE
    try:
        front.serve()
        assert smoke(front, {"LEVIATHAN_API_KEY": key})[0].measured is not None
        assert smoke(front, {}, smoke_api_key_file=str(tmp_path / "key"))[0].measured is not None
        for environ, file in (({}, ""), ({"LEVIATHAN_API_KEY": key}, str(tmp_path / "other"))):
            error = failure(front, environ, smoke_api_key_file=file)
            assert bad(error) == ["models", "completion", "stream", "refusal"]
            assert "got 401 application/json" in error.line()
            assert "secret" not in error.line() + str(error.report())
    finally:
        front.close()


def test_front_that_loads(front: FrontProcess) -> None:
    error = failure(front)
    assert bad(error) == ["health", "models", "completion", "stream", "refusal"]
    assert "got 503, loading: starting, 0 %" in error.line()


def test_front_with_another_model(front: FrontProcess) -> None:
    front.serve(name="other")
    error = failure(front)
    assert bad(error) == ["models", "completion", "stream"]  # an unknown model is refused with 4xx, too
    assert "expected the model letters in /v1/models, got the models other" in error.line()
    assert "fix: set engine.model_name" in error.line()


def test_front_whose_engine_has_gone(front: FrontProcess) -> None:
    front.serve()
    assert smoke(front)[0].measured is not None
    front.letters.error = RuntimeError("CUDA error")
    error = failure(front)
    assert bad(error) == ["completion", "stream"]
    assert "the engine failed to answer: RuntimeError: CUDA error" in error.line()
    front.link._socket.shutdown(2)
    front.wait(lambda: httpx.get(f"{front.url}/health").status_code == 503)
    error = failure(front)
    assert bad(error)[0] == "health"
    assert "503, failed: failed, " in error.line()
    assert "(the engine process has ended)" in error.line()


def test_front_whose_engine_is_not_greedy(front: FrontProcess) -> None:
    """The second letter differs from answer to answer."""
    right = front.letters.tokens
    turn = itertools.count()

    def tokens(job: Any, *heard: Any) -> Iterator[int]:
        for place, letter in enumerate(right(job, *heard)):
            yield front.letters.ids[next(turn) % 26] if place == 1 else letter

    front.letters.tokens = tokens
    front.serve()
    error = failure(front)
    assert bad(error) == ["completion", "stream"]
    assert "got texts that differ after 1 characters: " in error.line()


def test_slow_front_misses_the_floors(front: FrontProcess) -> None:
    front.letters.delay = 0.1
    front.serve()
    error = failure(front, smoke_min_tokens_per_s="50", smoke_max_ttft_s="0.05")
    assert bad(error) == ["first-token", "rate"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read the API key .*No such file"),
        ("\n", "the API key is empty"),
        ("a\x00b", "a character that is not allowed"),
    ],
)
def test_wrong_key_file(content: str | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    console, _ = talking()
    with pytest.raises(UsageError, match=words):
        run(smoke_site(smoke_api_key_file=str(file)), {}, console, url="http://127.0.0.1:1")
