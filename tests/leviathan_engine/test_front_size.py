"""Large requests: what is refused before it costs anything, and that /health is answered meanwhile."""

import asyncio
import json
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bench_health import sample
from front_process import SERVED, FrontProcess, write_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers

from leviathan_engine.front import body_limit
from leviathan_engine.front.access.record import Record
from leviathan_engine.front.api_error import ApiError
from leviathan_engine.front.fair_queue import FairQueue
from leviathan_engine.front.generation.run import Generation
from leviathan_engine.front.openai.chat_body import read_chat
from leviathan_engine.front.served import Served
from leviathan_engine.model import chat_prompt as prompt
from leviathan_engine.model.token_bytes import longest_token
from leviathan_engine.model.tokenizer import Vocabulary, tokenizer_json

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
MIB = 1 << 20
# The tests' longest token is "<assistant>", the others are a byte each.
LONGEST = 11
ALPHABET = pre_tokenizers.ByteLevel.alphabet()
BIG: dict[str, Any] = {"cache_lens": 200_001, "max_prompt": 200_000}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path)


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    """A front whose context is 200,000 tokens: a megabyte of text has to be tokenised to know that it is more."""
    process = FrontProcess(tmp_path_factory.mktemp("front"))
    process.serve(**BIG)
    yield process
    process.close()


def health_meanwhile(front: FrontProcess, path: str, raw: bytes) -> tuple[int, float, float]:
    """A request's status and its milliseconds, and those of the slowest answer of /health until then."""
    done: list[tuple[int, float]] = []

    def ask() -> None:
        begun = time.perf_counter()
        code = front.post(path, raw).status_code
        done.append((code, (time.perf_counter() - begun) * 1e3))

    thread = threading.Thread(target=ask)
    thread.start()
    times = []
    while thread.is_alive():
        times += sample(front.url, 5)
    thread.join()
    return *done[0], max(times)


def test_health_is_answered_while_a_megabyte_is_tokenised(big: FrontProcess) -> None:
    """Were the interpreter's lock held for it, as `Tokenizer.encode` does, /health would take as long as all of it."""
    text = "\u00e9a b, " * (MIB // 7)
    raw = json.dumps({"model": "letters", "messages": [{"role": "user", "content": text}]}).encode()
    code, took, worst = health_meanwhile(big, CHAT, raw)
    assert code == 400
    assert worst < took / 3, (worst, took)


def test_a_text_that_cannot_fit_is_not_tokenised(folder: Path) -> None:
    """The bound is the longest token's bytes for each token that is taken; the control is one byte shorter."""
    prompts = replace(prompt.load(folder), tokenizer=Counting())
    for text, calls in (("x" * (3 * LONGEST + 1), 0), ("\u20ac" * LONGEST + "x", 0), ("x" * 3 * LONGEST, 1)):
        with pytest.raises(prompt.PromptError) as caught:
            prompts.text_ids(text, 3)
        assert (caught.value.param, caught.value.code) == ("prompt", "context_length_exceeded")
        assert prompts.tokenizer.calls == calls, text


class Counting:
    """A tokenizer that gives four tokens for anything."""

    calls = 0

    def encode_batch(self, texts: list[str], *, add_special_tokens: bool) -> list[Any]:
        assert isinstance(add_special_tokens, bool)
        self.calls += 1
        return [[0] * 4 for _ in texts]


@given(st.text(st.sampled_from("ab\u00e9\u20ac\U0001f600 \t\n<>"), max_size=40), st.data())
@settings(max_examples=100, deadline=None)
def test_the_bound_is_sound(plain: str, data: st.DataObject) -> None:
    """No text becomes fewer tokens than its bytes over the longest token's."""
    text = plain + "".join(data.draw(st.lists(st.sampled_from(["<assistant>", "<bos>", "<user>", plain]), max_size=4)))
    tokenizer = tokenizer_of(DOCUMENT)
    longest = longest_token(DOCUMENT, ALPHABET)
    assert longest == LONGEST
    assert len(tokenizer.encode(text)) * longest >= len(text.encode())


def tokenizer_of(document: dict[str, Any]) -> Tokenizer:
    """The tokenizer of a `tokenizer.json`."""
    return Tokenizer.from_str(json.dumps(document))


def document() -> dict[str, Any]:
    """The tests' `tokenizer.json`."""
    with tempfile.TemporaryDirectory() as work:
        found: dict[str, Any] = json.loads((write_folder(Path(work)) / "tokenizer.json").read_text())
    return found


DOCUMENT = document()
BLANK = {"Regex": "\\s+"}
UNSURE: list[dict[str, Any]] = [
    {"normalizer": {"type": "NFC"}},
    {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Strip", "strip_left": True, "strip_right": True}]}},
    {"truncation": {"max_length": 5, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}},
    {"pre_tokenizer": {"type": "Whitespace"}},
    {"pre_tokenizer": None},
    {
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": BLANK, "behavior": "Removed", "invert": False},
                DOCUMENT["pre_tokenizer"],
            ],
        }
    },
    {"added_tokens": [token | {"lstrip": True} for token in DOCUMENT["added_tokens"]]},
    {"model": DOCUMENT["model"] | {"vocab": {"a": 0}}},
    {"model": DOCUMENT["model"] | {"type": "Unigram"}},
]


@pytest.mark.parametrize("change", UNSURE)
def test_where_text_may_vanish_there_is_no_bound(change: dict[str, Any]) -> None:
    assert longest_token(DOCUMENT | change, ALPHABET) is None
    assert longest_token(DOCUMENT, ALPHABET) == LONGEST


def test_deepseeks_own_kind_has_a_bound() -> None:
    """What the launcher makes of a header: cuts in a sequence, an empty normalizer, added tokens."""
    tokens = [*ALPHABET, "ab", "<s>", "</s>"]
    vocabulary = Vocabulary(tokens, [1] * 257 + [3, 3], ["a b"], 257, 258, 258, True, False)
    assert longest_token(tokenizer_json(vocabulary, "x"), ALPHABET) == 4


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('ab\\"/\n \u00e9,:[]{}'), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('a\\"', max_size=4), inner, max_size=3),
    max_leaves=15,
)


@given(VALUE, st.booleans(), st.sampled_from([None, 1]), st.data())
@settings(max_examples=200, deadline=None)
def test_the_outline_is_what_is_outside_of_strings(
    value: Any, ascii_only: bool, indent: int | None, data: st.DataObject
) -> None:
    """Wherever the body is cut into pieces. The other way to count: a regular expression over the whole."""
    raw = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=4)))
    outline = body_limit.Outline()
    for begin, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        outline.feed(raw[begin:end])
    bare = re.sub(rb'"(?:[^"\\]|\\.)*"', b'""', raw, flags=re.DOTALL)
    assert outline.size == len(re.sub(rb"\s", b"", bare))


def test_every_prompt_that_fits_the_context_fits_the_body() -> None:
    """As text of the longest tokens in the longest writing, and as token ids; up to a last bound."""
    limit = body_limit.body_limit(None, 8192, 128)
    assert limit.whole >= len(json.dumps({"prompt": "\x01" * 8192 * 128}))
    assert limit.outline >= len(json.dumps([999_999] * 8192, separators=(",", ":")))
    assert limit.outline >= 30 * 4096, "and a chat of many small messages"
    assert body_limit.body_limit(None, 1 << 20, 128).whole == 32 * MIB
    assert body_limit.body_limit(None, 64, 128).whole > MIB
    assert body_limit.body_limit(None).whole == 8 * MIB
    assert body_limit.body_limit(5, 8192, 128).whole == 5


def test_the_body_limit_follows_the_context(front: FrontProcess) -> None:
    """450 tokens of 11 bytes: a megabyte and 30 kB; with a large context the same body comes through."""
    assert (
        front.post(TEXT, {"model": "letters", "prompt": "x", "max_tokens": 1}).status_code == 200
    )  # its tokenizer is read
    raw = json.dumps({"model": "letters", "prompt": "x" * (MIB + 450 * 66)}).encode()
    assert (front.post(TEXT, raw).status_code, front.post(TEXT, raw[:MIB]).status_code) == (413, 400)


def test_what_is_outside_of_strings_has_a_bound_of_its_own(front: FrontProcess, big: FrontProcess) -> None:
    """The same size as one text is only too long, and as many numbers as the context has tokens are let through."""
    lists = b'{"model": "letters", "prompt": [' + b"[]," * 100_000 + b"[]]}"
    refused = front.post(TEXT, lists)
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "body_too_large")
    assert "outside of strings" in refused.json()["error"]["message"]
    text = front.post(TEXT, {"model": "letters", "prompt": "[]," * 100_000})
    assert (text.status_code, text.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert front.post(TEXT, {"model": "letters", "prompt": [1] * 401}).status_code == 400
    assert front.post(TEXT, {"model": "letters", "prompt": [1] * 399, "max_tokens": 1}).status_code == 200
    many = big.post(TEXT, {"model": "letters", "prompt": [100] * 199_000, "max_tokens": 1})
    assert (many.status_code, many.json()["usage"]["prompt_tokens"]) == (200, 199_000)


def test_a_full_queue_refuses_before_it_tokenises() -> None:
    """`check` says what `acquire` would, and takes no place."""

    async def main() -> list[int]:
        queue = FairQueue(2)
        queue.check("a")
        await queue.acquire("x")
        waits = [asyncio.create_task(queue.acquire("a")) for _ in range(2)]
        await asyncio.sleep(0.01)
        queue.check("b")
        with pytest.raises(ApiError) as full:
            queue.check("a")
        assert queue.waiting == 2
        queue.close()
        with pytest.raises(ApiError) as closed:
            queue.check("b")
        await asyncio.gather(*waits, return_exceptions=True)
        return [full.value.status, closed.value.status]

    assert asyncio.run(main()) == [429, 503]


class Untouched:
    """Prompts that nobody may make."""

    def chat_ids(self, _messages: object, _most: int) -> list[int]:
        raise AssertionError("it was tokenised")

    def text(self, _ids: object) -> str:
        return ""


def test_who_finds_the_queue_full_is_refused_untokenised() -> None:
    async def main() -> int:
        queue = FairQueue(1)
        await queue.acquire("x")
        waits = asyncio.create_task(queue.acquire("a"))
        await asyncio.sleep(0.01)
        served = Served(SERVED)
        asked = read_chat({"model": SERVED.name, "messages": [{"role": "user", "content": "x"}]}, served)
        service: Any = SimpleNamespace(queue=queue, prompts=Untouched(), served=served)
        with pytest.raises(ApiError) as caught:
            await Generation(service, asked[0], "a", Record("r")).run(None)  # type: ignore[arg-type]
        waits.cancel()
        return caught.value.status

    assert asyncio.run(main()) == 429
