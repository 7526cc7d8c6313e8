"""The queue: its bound, whose turn it is, and clients that go away."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from front_process import ALPHABET, FrontProcess, serving

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    yield from serving(tmp_path_factory.mktemp("front"), LEVIATHAN_QUEUE="3", LEVIATHAN_MAX_BODY="100000")


@pytest.fixture
def slow(front: FrontProcess) -> Iterator[FrontProcess]:
    front.letters.delay = 0.05
    yield front
    front.letters.delay = 0.0
    front.wait(lambda: front.metric("leviathan_running") == 0)


def chat(**changes: Any) -> dict[str, Any]:
    return {"model": "letters", "messages": HELLO, "temperature": 0} | changes


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
