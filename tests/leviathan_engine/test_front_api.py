"""The front as OpenAI's clients see it: a real front process, the real `openai` package, letters for a model."""

import json
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from front_process import ALPHABET, FrontProcess, out_of_memory, serving

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    yield from serving(tmp_path_factory.mktemp("front"), LEVIATHAN_QUEUE="3", LEVIATHAN_MAX_BODY="100000")


@pytest.fixture
def client(front: FrontProcess) -> openai.OpenAI:
    return openai.OpenAI(base_url=front.url + "/v1", api_key="none", max_retries=0, timeout=60)


@pytest.fixture
def slow(front: FrontProcess) -> Iterator[FrontProcess]:
    front.letters.delay = 0.05
    yield front
    front.letters.delay = 0.0
    front.wait(lambda: front.metric("leviathan_running") == 0)


def chat(**changes: Any) -> dict[str, Any]:
    return {"model": "letters", "messages": HELLO, "temperature": 0} | changes


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["letters"]
    assert client.models.retrieve("letters").object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="letters", messages=HELLO, temperature=0)  # type: ignore[call-overload]
    assert (answer.object, answer.model, answer.id[:9]) == ("chat.completion", "letters", "chatcmpl-")
    assert abs(answer.created - time.time()) < 300
    choice = answer.choices[0]
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", ALPHABET, "stop")
    # <bos>, <user>, five letters, <assistant>.
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (8, 26, 34)


def test_chat_stream(client: openai.OpenAI) -> None:
    options = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(  # type: ignore[call-overload]
            model="letters", messages=HELLO, temperature=0, max_tokens=5, stream=True, stream_options=options
        )
    )
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == "abcde"
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * 6 + ["length"]
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 13)
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_stream_on_the_wire(front: FrontProcess) -> None:
    answer = front.post(CHAT, chat(stream=True, max_tokens=2))
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.text.split("\n\n")
    assert events.pop() == ""
    assert all(event.startswith("data: ") for event in events)
    assert events[-1] == "data: [DONE]"
    assert "usage" not in json.loads(events[0].removeprefix("data: "))


def test_completion(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="letters", prompt="ab", temperature=0, echo=True)
    assert (answer.object, answer.choices[0].text) == ("text_completion", "ab" + ALPHABET[:16])
    assert (answer.choices[0].finish_reason, answer.id[:5]) == ("length", "cmpl-")
    parts = list(client.completions.create(model="letters", prompt=[1, 2], temperature=0, max_tokens=3, stream=True))
    assert "".join(part.choices[0].text for part in parts) == "abc"
    assert parts[-1].choices[0].finish_reason == "length"


@pytest.mark.parametrize("stream", [False, True])
def test_stop_ends_the_generation(slow: FrontProcess, stream: bool) -> None:
    answer = slow.post(CHAT, chat(stop=["zz", "hij"], stream=stream))
    if stream:
        chunks = [json.loads(e[6:]) for e in answer.text.split("\n\n") if e.startswith("data: {")]
        text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
        finish = chunks[-1]["choices"][0]["finish_reason"]
    else:
        text = answer.json()["choices"][0]["message"]["content"]
        finish = answer.json()["choices"][0]["finish_reason"]
        assert answer.json()["usage"]["completion_tokens"] == 10
    assert (text, finish) == ("abcdefg", "stop")


def test_sampling_reaches_the_engine(front: FrontProcess) -> None:
    def text(**changes: Any) -> str:
        return str(front.post(CHAT, chat(max_tokens=20, **changes)).json()["choices"][0]["message"]["content"])

    assert text(temperature=1, seed=1) == text(temperature=1, seed=1) != text(temperature=1, seed=2)
    assert text(temperature=1, seed=1) != text(temperature=0.5, seed=1)
    text(temperature=None, top_p=None, seed=-5)
    job = front.letters.jobs[-1]
    assert (job.temperature, job.top_p, job.seed, len(job.eos)) == (0.6, 0.95, -5, 1)


WRONG: list[tuple[str, Any, int, str]] = [
    (CHAT, b"{", 400, "JSON"),
    (CHAT, b'{"temperature": NaN}', 400, "NaN"),
    (CHAT, b"\xff\xfe", 400, "JSON"),
    (CHAT, b"[" * 90000, 400, "deep"),
    (CHAT, b" " * 100001, 413, "larger"),
    (CHAT, [], 400, "object"),
    (CHAT, chat(model="gpt-4"), 404, "letters"),
    (CHAT, chat(model="\ud800"), 400, "surrogate"),
    (CHAT, chat(model=7), 400, "model: expected a string, got an integer"),
    (CHAT, chat(messages=[]), 400, "empty"),
    (CHAT, chat(messages="x"), 400, "list"),
    (CHAT, chat(messages=[{"role": "user"}]), 400, "messages[0].content is missing"),
    (CHAT, chat(messages=[{"role": "robot", "content": ""}]), 400, "role"),
    (CHAT, chat(messages=[{"role": "user", "content": "\ud800"}]), 400, "surrogate"),
    (CHAT, chat(messages=[{"role": "user", "content": [{"type": "image_url"}]}]), 400, "content[0].type"),
    (CHAT, chat(messages=[*HELLO, {"role": "system", "content": "x"}]), 400, "system comes first"),
    (CHAT, chat(messages=[{"role": "user", "content": "x" * 500}]), 400, "503 tokens"),
    (CHAT, chat(temperature="hot"), 400, "temperature"),
    (CHAT, chat(temperature=-1), 400, "temperature"),
    (CHAT, chat(top_p=True), 400, "top_p"),
    (CHAT, chat(max_tokens=0), 400, "max_tokens"),
    (CHAT, chat(max_tokens=-2), 400, "max_tokens: expected at least -1"),
    (CHAT, chat(max_tokens=1.5), 400, "max_tokens"),
    (CHAT, chat(seed=1 << 63), 400, "seed"),
    (CHAT, chat(stop=[""]), 400, "stop"),
    (CHAT, chat(tools=[{"type": "function"}]), 400, "tools"),
    (CHAT, chat(stream="yes"), 400, "stream"),
    (CHAT, chat(stream_options=[]), 400, "stream_options: expected an object, got a list"),
    (CHAT, chat(mirostat=2), 400, "mirostat is not supported"),
    (CHAT, chat(structural_tag={}), 400, "structural_tag is not supported"),
    (CHAT, chat(stopp="x"), 400, "did you mean stop?"),
    (CHAT, chat(user=7), 400, "user: expected a string, got an integer"),
    (TEXT, {"model": "letters"}, 400, "prompt"),
    (TEXT, {"model": "letters", "prompt": ""}, 400, "empty"),
    (TEXT, {"model": "letters", "prompt": [1 << 40]}, 400, "token id"),
    (TEXT, {"model": "letters", "prompt": ["a", 1]}, 400, "prompt[1]: expected a string"),
    ("/v1/embeddings", {}, 404, "Not Found"),
]


@pytest.mark.parametrize(("path", "body", "status", "says"), WRONG)
def test_wrong_requests(front: FrontProcess, path: str, body: Any, status: int, says: str) -> None:
    before = len(front.letters.jobs)
    answer = front.post(path, body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert says in error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert len(front.letters.jobs) == before


def test_right_requests_beside_the_wrong_ones(front: FrontProcess) -> None:
    """The control: what differs from the wrong ones in one point is answered."""
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    for body in (
        chat(messages=[{"role": "developer", "content": "x"}, {"role": "user", "content": parts}]),
        chat(n=1, tools=[], presence_penalty=0, frequency_penalty=0.0, logit_bias={}, user="me", metadata={"a": 1}),
        chat(messages=[{"role": "user", "content": "x" * 395}], max_tokens=52),
        chat(model=None, top_k=0, min_p=0, max_tokens=5.0, repetition_penalty=1.0, stream_options={}),
        chat(stream_options=None, response_format={"type": "text"}, seed=(1 << 63) - 1),
    ):
        assert front.post(CHAT, body).status_code == 200, body


def test_an_engine_without_memory_answers_500_and_goes_on(front: FrontProcess) -> None:
    front.letters.error = out_of_memory()
    try:
        answer = front.post(CHAT, chat())
        streamed = front.post(CHAT, chat(stream=True))
    finally:
        front.letters.error = None
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
    assert "too small" in answer.json()["error"]["message"]
    assert "too small" in streamed.text
    assert "[DONE]" not in streamed.text
    assert front.post(CHAT, chat()).status_code == 200
