"""Places in the queue: shared among clients first, then among the names that a client gives itself."""

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from bad_clients import chat
from front_process import FrontProcess
from hypothesis import given, settings
from hypothesis import strategies as st

from leviathan_engine.front.api_error import ApiError
from leviathan_engine.front.client_key import queue_key
from leviathan_engine.front.fair_queue import FairQueue, line_name
from leviathan_engine.front.tokenising import Tokenising

CHAT = "/v1/chat/completions"


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def outcome(names: list[str], limit: int) -> list[str]:
    """The order in which requests of these lines are served, when they all come while somebody's turn is on."""

    async def main() -> list[str]:
        queue, order = FairQueue(limit), list[str]()

        async def one(name: str) -> None:
            await queue.acquire(name)
            order.append(name)
            queue.release()

        await queue.acquire("first")
        tasks = []
        for name in names:
            tasks.append(asyncio.create_task(one(name)))
            await settle()
        queue.release()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(error is None or isinstance(error, ApiError) for error in done)
        assert (queue.waiting, queue.busy) == (0, False)
        return order

    return asyncio.run(main())


def test_many_names_of_one_client_take_no_place_from_another() -> None:
    """The attack: 64 users of one address before anybody else comes."""
    order = outcome([f"bad:{i}" for i in range(64)] + ["good:"] * 3 + ["other:"], 64)
    assert order[1:6:2] == ["good:", "good:", "good:"] or order[:5].count("good:") == 2
    assert order.count("good:") == 3
    assert order.count("other:") == 1
    assert len(order) == 64


def test_clients_take_turns_and_so_do_the_names_of_each() -> None:
    order = outcome(["a:1", "a:1", "a:2", "b:1", "b:1"], 10)
    assert order == ["a:1", "b:1", "a:2", "b:1", "a:1"]


def test_among_the_names_of_one_client_a_new_one_gets_a_place() -> None:
    assert sorted(outcome(["a:1", "a:1", "a:1", "a:2"], 3)) == ["a:1", "a:1", "a:2"]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("12")), max_size=40), st.integers(1, 8))
@settings(max_examples=100, deadline=None)
def test_places_are_shared(names: list[tuple[str, str]], limit: int) -> None:
    """No client is refused while another has two places more than it would have then."""
    order = outcome([line_name(client, name) for client, name in names], limit)
    assert len(order) == min(limit, len(names))
    served = {client: sum(line[0] == client for line in order) for client in "abc"}
    wanted = {client: sum(one[0] == client for one in names) for client in "abc"}
    for client in "abc":
        if served[client] < wanted[client]:
            assert served[client] >= max(served.values()) - 1


def scope(host: str, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http", "client": (host, 1), "headers": list(headers)}


def test_a_client_cannot_choose_the_first_part_of_its_name() -> None:
    def client(host: str, body: dict[str, Any], *headers: tuple[bytes, bytes]) -> str:
        return queue_key(scope(host, *headers), body).partition(":")[0]

    mine = client("10.0.0.1", {})
    assert client("10.0.0.1", {"user": "x"}) == mine
    assert client("10.0.0.1", {}, (b"authorization", b"Bearer made-up")) == mine
    assert client("::ffff:10.0.0.1", {}) == mine
    assert client("2001:db8::1", {}) == client("2001:db8::2", {}) != mine
    names = {
        queue_key(scope("10.0.0.1"), body)
        for body in ({}, {"user": "x"}, {"user": "y"}, {"safety_identifier": "x"}, {"user": 1})
    }
    assert len(names) == 4


def test_lockout(tmp_path: Path) -> None:
    """65 requests of one address, each with another `user`: another address is served all the same, and soon."""
    front = FrontProcess(tmp_path)
    front.serve()
    front.letters.delay = 0.01
    bodies = [chat(20, stream=False, user=f"u{i}") for i in range(65)]
    threads = [threading.Thread(target=front.post, args=(CHAT, body)) for body in bodies]
    try:
        for thread in threads:
            thread.start()
        front.wait(lambda: front.metric("leviathan_queue_waiting") >= 60)
        begin = time.monotonic()
        answer = front.post(CHAT, chat(1, stream=False, user="honest"), address="127.0.0.9")
        assert (answer.status_code, front.metric("leviathan_queue_waiting") > 20) == (200, True)
        assert time.monotonic() - begin < 5
    finally:
        for thread in threads:
            thread.join()
        front.close()


def test_tokenising_is_one_at_a_time_and_in_turn() -> None:
    async def main() -> tuple[list[str], int]:
        tokenising, order, running, most = Tokenising(10), list[str](), 0, 0

        def work(name: str) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            time.sleep(0.01)
            order.append(name)
            running -= 1

        names = ["a", "a", "a", "b"]
        tasks = [asyncio.create_task(tokenising.run(name, lambda name=name: work(name))) for name in names]  # type: ignore[misc]
        await settle()
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with pytest.raises(ZeroDivisionError):
            await tokenising.run("a", lambda: 1 // 0)
        tokenising.close()
        with pytest.raises(ApiError):
            await tokenising.run("a", lambda: None)
        return order, most

    order, most = asyncio.run(main())
    assert (order, most) == (["a", "b", "a"], 1) or (order, most) == (["a", "a", "b"], 1)
