"""The front as OpenAI's clients see it: a real front process, the real `openai` package, letters for a model."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from front_process import ALPHABET, SERVED, FrontProcess, out_of_memory

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    process = FrontProcess(tmp_path_factory.mktemp("front"), LEVIATHAN_QUEUE="3", LEVIATHAN_MAX_BODY="100000")
    process.serve()
    yield process
    process.close()


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


def leave(front: FrontProcess, body: Any) -> float:
    """Sends a request and goes away once the engine has it; seconds until its generation has ended."""
    ended, jobs = len(front.letters.ended), len(front.letters.jobs)
    cancelled = front.metric("leviathan_cancelled_total")
    raw = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(raw)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", int(front.url.rsplit(":", 1)[1]))) as connection:
        connection.sendall(head + raw)
        front.wait(lambda: len(front.letters.jobs) > jobs)
        begin = time.monotonic()
    front.wait(lambda: len(front.letters.ended) > ended)
    seconds = time.monotonic() - begin
    front.wait(lambda: front.metric("leviathan_cancelled_total") == cancelled + 1)
    return seconds


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_stops_its_generation(slow: FrontProcess, stream: bool) -> None:
    # All 100 tokens take 5 s; under load ending takes a moment, but not that.
    assert leave(slow, chat(stream=stream, temperature=1, max_tokens=100)) < 4


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_stops_the_reading_of_its_prompt(front: FrontProcess, stream: bool) -> None:
    """Before the first token, which would come after 30 s; the next request is answered."""
    front.letters.layers, front.letters.layer_delay = 600, 0.05
    try:
        assert leave(front, chat(stream=stream)) < 15
    finally:
        front.letters.layers = 0
    assert front.post(CHAT, chat()).json()["choices"][0]["message"]["content"] == ALPHABET


@pytest.fixture
def held(front: FrontProcess) -> Iterator[FrontProcess]:
    """No generation continues or ends until `letters.go` is set."""
    front.letters.go.clear()
    yield front
    front.letters.go.set()
    front.wait(lambda: front.metric("leviathan_running") == 0)


def ask(
    front: FrontProcess,
    address: str,
    seed: int,
    codes: list[int],
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> threading.Thread:
    """A request from `address` in a thread, sent so far that it runs or waits; its status goes to `codes`."""
    names = ("leviathan_running", "leviathan_queue_waiting")
    there = sum(front.metric(name) for name in names)
    body = chat(seed=seed, max_tokens=2, **fields)
    thread = threading.Thread(target=lambda: codes.append(front.post(CHAT, body, address, headers=headers).status_code))
    thread.start()
    front.wait(lambda: codes or sum(front.metric(name) for name in names) > there)
    return thread


def test_health_does_not_wait_for_a_generation(held: FrontProcess) -> None:
    codes: list[int] = []
    thread = ask(held, "127.0.0.1", 1, codes)
    for path in ("/health", "/ready", "/metrics", "/v1/models"):
        assert httpx.get(held.url + path, timeout=5).status_code == 200
    assert codes == []
    held.letters.go.set()
    thread.join()
    assert codes == [200]


def test_the_queue_has_a_bound(held: FrontProcess) -> None:
    """One runs and three wait: the fifth is refused at once, and the four are answered."""
    codes: list[int] = []
    threads = [ask(held, "127.0.0.1", seed, codes) for seed in range(4)]
    assert held.metric("leviathan_queue_waiting") == 3
    refused = held.post(CHAT, chat())
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
    assert int(refused.headers["retry-after"]) > 0
    held.letters.go.set()
    for thread in threads:
        thread.join()
    assert codes == [200] * 4


def test_clients_take_turns(held: FrontProcess) -> None:
    """One has two requests in the queue; another, who comes last, is served after the first of them."""
    before, codes = len(held.letters.jobs), list[int]()
    order = [("127.0.0.1", 0), ("127.0.0.2", 1), ("127.0.0.2", 2), ("127.0.0.3", 3)]
    threads = [ask(held, address, seed, codes) for address, seed in order]
    held.letters.go.set()
    for thread in threads:
        thread.join()
    assert codes == [200] * 4
    assert [job.seed for job in held.letters.jobs[before:]] == [0, 1, 3, 2]


OTHERS: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"user": "b"}, {}),
    ({"safety_identifier": "b"}, {}),
    ({"metadata": {"user_id": "b"}}, {}),
    ({}, {"authorization": "Bearer b"}),
]


@pytest.mark.parametrize(("fields", "headers"), OTHERS)
def test_users_behind_one_address_take_turns(
    held: FrontProcess, fields: dict[str, Any], headers: dict[str, str]
) -> None:
    """As behind a NodePort, where every client has a node's address: by `user`, `safety_identifier` or API key."""
    before, codes = len(held.letters.jobs), list[int]()
    threads = [ask(held, "127.0.0.1", seed, codes, user="a") for seed in range(3)]
    threads.append(ask(held, "127.0.0.1", 3, codes, headers, **({"user": "a"} | fields)))
    held.letters.go.set()
    for thread in threads:
        thread.join()
    assert codes == [200] * 4
    assert [job.seed for job in held.letters.jobs[before:]] == [0, 1, 3, 2]


@pytest.mark.parametrize("fields", [{"user": "a"}, {"user": "a", "safety_identifier": None}])
def test_one_user_has_one_line(held: FrontProcess, fields: dict[str, Any]) -> None:
    """The control: fields that do not distinguish clients have no effect."""
    before, codes = len(held.letters.jobs), list[int]()
    threads = [ask(held, "127.0.0.1", seed, codes, user="a") for seed in range(3)]
    threads.append(ask(held, "127.0.0.1", 3, codes, **fields))
    held.letters.go.set()
    for thread in threads:
        thread.join()
    assert [job.seed for job in held.letters.jobs[before:]] == [0, 1, 2, 3]


def test_who_leaves_the_queue_is_not_served(held: FrontProcess) -> None:
    before, codes = len(held.letters.jobs), list[int]()
    first = ask(held, "127.0.0.1", 1, codes)
    raw = json.dumps(chat(seed=2)).encode()
    with socket.create_connection(("127.0.0.1", int(held.url.rsplit(":", 1)[1]))) as connection:
        connection.sendall(f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(raw)}\r\n\r\n".encode() + raw)
        held.wait(lambda: held.metric("leviathan_queue_waiting") == 1)
    held.wait(lambda: held.metric("leviathan_queue_waiting") == 0)
    last = ask(held, "127.0.0.1", 3, codes)
    held.letters.go.set()
    for thread in (first, last):
        thread.join()
    assert [job.seed for job in held.letters.jobs[before:]] == [1, 3]


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


def test_metrics_show_what_was_done(front: FrontProcess) -> None:
    label = f'{{path="{CHAT}",status="200"}}'
    grow = {
        "leviathan_generated_tokens_total": 7,
        "leviathan_prompt_tokens_total": 8,
        "leviathan_requests_total" + label: 1,
        "leviathan_time_to_first_token_seconds_count": 1,
        "leviathan_queue_wait_seconds_count": 1,
        'leviathan_queue_wait_seconds_bucket{le="+Inf"}': 1,
    }
    before = {name: front.metric(name) for name in grow}
    front.letters.delay = 0.02
    try:
        front.post(CHAT, chat(max_tokens=7))
    finally:
        front.letters.delay = 0.0
    assert {name: front.metric(name) - before[name] for name in grow} == grow
    # 20 ms a token at the least, so 50 a second at the most; the front may have seen the first one late.
    assert 1 < front.metric("leviathan_tokens_per_second") <= 60
    now = {
        "leviathan_ready": 1,
        "leviathan_load_ratio": 1,
        "leviathan_load_layers": SERVED.layers,
        "leviathan_load_bytes": SERVED.total_bytes,
        "leviathan_load_total_bytes": SERVED.total_bytes,
        "leviathan_queue_waiting": 0,
        "leviathan_running": 0,
        'leviathan_vram_used_bytes{gpu="0"}': 5,
        'leviathan_vram_total_bytes{gpu="0"}': 7,
        "leviathan_cache_pages": 8,
        "leviathan_cache_pages_used": 2,
        'vllm:kv_cache_usage_perc{model_name="letters"}': 0.25,
        "leviathan_unknown": 0,  # what the front has no text for is not shown
    }
    assert {name: front.metric(name) for name in now} == now
    assert front.metric("leviathan_engine_resident_bytes") > 1 << 20


SAMPLE = re.compile(r"([a-z_:0-9]+)(\{[a-z_]+=\"[^\"\\\n]*\"(,[a-z_]+=\"[^\"\\\n]*\")*\})? ([0-9.e+-]+)")


def test_metrics_are_prometheus_text(front: FrontProcess) -> None:
    """HELP and TYPE once, before the samples of that name; every sample a number; a counter's name ends in _total."""
    answer = httpx.get(front.url + "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    kinds: dict[str, str] = {}
    current = ""
    for line in answer.text.splitlines():
        if line.startswith("# HELP "):
            current = line.split(" ")[2]
            assert current not in kinds
        elif line.startswith("# TYPE "):
            assert line.split(" ")[2] == current
            kinds[current] = line.split(" ")[3]
        else:
            found = SAMPLE.fullmatch(line)
            assert found is not None, line
            float(found[4])
            assert re.fullmatch(current + ("(_bucket|_sum|_count)" if kinds[current] == "histogram" else ""), found[1])
    assert all(name.endswith("_total") == (kind == "counter") for name, kind in kinds.items())
    assert len(kinds) >= 18
    assert answer.text.endswith("\n")
