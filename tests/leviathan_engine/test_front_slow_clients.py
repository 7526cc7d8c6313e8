"""A client that reads slowly, stops reading or vanishes does not hold the engine's turn, and its connection ends."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bad_clients import chat, connect, request, vanish
from front_process import FrontProcess
from host_only import need_socket_filters
from starlette.types import Message

from leviathan_engine.front.asgi import ClientGone
from leviathan_engine.front.outbox import Outbox, Unsent

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
TOKENS = 12_000
# In which an honest client is answered once the engine is done; without the outbox it waits for the slow one's end.
SOON = 5.0


@pytest.fixture
def long(tmp_path: Path) -> Iterator[FrontProcess]:
    """A front whose answers are longer than what the kernel buffers for a client, some 3 MB as a stream."""
    process = FrontProcess(tmp_path, LEVIATHAN_CLIENT_SECONDS="2")
    process.serve(cache_lens=40_000, max_prompt=20_000, max_new_tokens=TOKENS)
    process.letters.ids = (process.letters.ids * TOKENS)[:TOKENS]
    yield process
    process.close()


def honest(front: FrontProcess) -> float:
    """Seconds until another client is answered."""
    begin = time.monotonic()
    assert front.post(CHAT, chat(1, stream=False)).status_code == 200
    return time.monotonic() - begin


def test_a_client_that_stops_reading_does_not_hold_the_turn(long: FrontProcess) -> None:
    client = connect(long.url, tiny=True)
    client.sendall(request(CHAT, chat(TOKENS)))
    long.wait(lambda: long.letters.ended)
    assert honest(long) < SOON
    # And it is disconnected, because it has read nothing for longer than LEVIATHAN_CLIENT_SECONDS.
    long.wait(lambda: long.metric("leviathan_cancelled_total") == 1)
    client.close()


def test_a_client_that_vanishes_does_not_hold_the_turn(long: FrontProcess) -> None:
    """As a laptop whose lid is closed: neither FIN nor RST comes. Its connection ends with TCP's own time-out."""
    need_socket_filters()
    long.letters.delay = 0.0001
    client = connect(long.url)
    client.sendall(request(CHAT, chat(TOKENS)))
    assert client.recv(100)
    vanish(client)
    long.wait(lambda: long.letters.ended)
    assert honest(long) < SOON
    long.wait(lambda: long.metric("leviathan_cancelled_total") == 1)
    client.close()


def test_a_client_that_vanishes_while_it_waits_leaves_the_queue(long: FrontProcess) -> None:
    """Nothing is sent to it meanwhile, so only the keep-alive probes of TCP can notice."""
    need_socket_filters()
    long.letters.go.clear()
    first = connect(long.url)
    first.sendall(request(CHAT, chat(1, stream=False)))
    long.wait(lambda: long.letters.jobs)
    client = connect(long.url)
    client.sendall(request(CHAT, chat(1, stream=False, user="other")))
    long.wait(lambda: long.metric("leviathan_queue_waiting") == 1)
    vanish(client)
    long.wait(lambda: long.metric("leviathan_queue_waiting") == 0)
    long.letters.go.set()
    first.close()
    client.close()


def test_a_client_that_takes_its_time_gets_the_whole_answer(long: FrontProcess) -> None:
    """The control: slow is not dead. It reads all of the stream, after the turn has gone to the next."""
    client = connect(long.url, tiny=True)
    client.sendall(request(CHAT, chat(2000)))
    long.wait(lambda: long.letters.ended)
    assert honest(long) < SOON
    read = b""
    while not read.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"):
        read += client.recv(1 << 16)
        time.sleep(0.001)
    assert read.count(b'"content":') == 2001  # the first chunk, which names the role, has an empty one
    client.close()


class Client:
    """What an answer's `send` reaches: it takes messages while `reads` is set."""

    def __init__(self) -> None:
        self.taken: list[Message] = []
        self.reads = asyncio.Event()

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        self.taken.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.taken)


def piece(body: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


def test_the_outbox_keeps_order_and_joins_small_pieces() -> None:
    async def main() -> list[Message]:
        client, unsent = Client(), Unsent()
        async with Outbox(client.send, unsent) as out:
            await out.send({"type": "http.response.start", "status": 200, "headers": []})
            for number in range(1000):
                await out.send(piece(b"%d " % number))
            assert unsent.total == out.size > 0
            await out.send(piece(b"end", more=False))
            client.reads.set()
            await out.finish()
            assert (unsent.total, out.size) == (0, 0)
        return client.taken

    taken = asyncio.run(main())
    assert [message["type"] for message in taken[:2]] == ["http.response.start", "http.response.body"]
    assert b"".join(message.get("body", b"") for message in taken) == b"".join(b"%d " % i for i in range(1000)) + b"end"
    assert len(taken) == 2
    assert not taken[-1]["more_body"]


def test_the_largest_backlog_is_dropped_when_all_together_are_too_large() -> None:
    async def main() -> tuple[int, bytes]:
        unsent = Unsent(most=1000)
        slow, fast = Client(), Client()
        fast.reads.set()
        async with Outbox(slow.send, unsent) as large, Outbox(fast.send, unsent) as small:
            await large.send(piece(b"x" * 800))
            await small.send(piece(b"y" * 300))
            with pytest.raises(ClientGone):
                await large.send(piece(b"x"))
            with pytest.raises(ClientGone):
                await large.finish()
            await small.send(piece(b"", more=False))
            await small.finish()
        return unsent.total, fast.body

    assert asyncio.run(main()) == (0, b"y" * 300)


def test_a_whole_answer_that_nobody_takes_is_dropped_too() -> None:
    """It is sent without a task of its own; a cancellation that comes from elsewhere stays one."""

    async def main() -> tuple[int, bool]:
        unsent, slow = Unsent(most=1000), Client()
        async with Outbox(slow.send, unsent) as large, Outbox(slow.send, unsent) as small:
            await large.send(piece(b"x" * 800, more=False))
            sending = asyncio.create_task(large.finish())
            await asyncio.sleep(0)
            await small.send(piece(b"y" * 300))
            with pytest.raises(ClientGone):
                await sending
            assert not sending.cancelled()
        async with Outbox(slow.send, unsent) as third:
            await third.send(piece(b"z", more=False))
            ended = asyncio.create_task(third.finish())
            await asyncio.sleep(0)
            ended.cancel()
            await asyncio.wait({ended})
        return unsent.total, ended.cancelled()

    assert asyncio.run(main()) == (0, True)


def test_an_error_of_the_way_out_is_not_lost() -> None:
    async def send(_message: Any) -> None:
        raise OSError("the way out is gone")

    async def main() -> None:
        async with Outbox(send, Unsent()) as out:
            await out.send(piece(b"x", more=False))
            with pytest.raises(OSError, match="the way out is gone"):
                await out.finish()

    asyncio.run(main())
