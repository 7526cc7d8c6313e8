"""An answer is never silent for long: a stream has comments, a whole answer blanks in front of its JSON."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from front_process import SERVED, write_folder

from leviathan_engine import wire
from leviathan_engine.front.access.record import Record
from leviathan_engine.front.api_error import ApiError
from leviathan_engine.front.engine import Engine, Tick
from leviathan_engine.front.fair_queue import FairQueue
from leviathan_engine.front.generation.reply import Reply
from leviathan_engine.front.generation.run import Generation, Service
from leviathan_engine.front.metrics import Metrics
from leviathan_engine.front.openai.chat_body import read_chat
from leviathan_engine.front.served import Served
from leviathan_engine.front.status import Status
from leviathan_engine.model import chat_prompt as prompt

BEAT = 0.05


class Slow(Engine):
    """An engine whose one token is far off: it gives the ticks that the real one gives when nothing comes."""

    def __init__(self) -> None:
        super().__init__(Status(), lambda _model: None, BEAT)
        self.quick = False

    async def generate(self, job: wire.Job) -> AsyncGenerator[Tick, None]:
        if not self.quick:
            yield Tick()
        yield Tick(job.ids[2])  # the "x" of the prompt: <bos> <user> x <assistant>
        if not self.quick:
            yield Tick()
        yield Tick(done="length")


class Sent:
    """What the front sends, and the queue before it."""

    def __init__(self, folder: Path, waiting: int = 4) -> None:
        self.queue = FairQueue(waiting)
        self.messages: list[dict[str, Any]] = []
        self._service = Service(Slow(), self.queue, Metrics(), prompt.load(folder), Served(SERVED))

    async def send(self, message: Any) -> None:
        self.messages.append(message)

    def run(self, client: str, *, stream: bool) -> Coroutine[Any, Any, None]:
        body = {"model": SERVED.name, "messages": [{"role": "user", "content": "x"}], "stream": stream}
        request, writer = read_chat(body, Served(SERVED))
        generation = Generation(self._service, request, client, Record("r"))
        return generation.run(Reply(self.send, writer, stream=stream))

    def heartbeats_off(self) -> None:
        """The engine gives its token at once."""
        self._service.engine.quick = True  # type: ignore[attr-defined]

    @property
    def starts(self) -> list[int]:
        return [message["status"] for message in self.messages if message["type"] == "http.response.start"]

    @property
    def events(self) -> list[str]:
        raw = b"".join(message.get("body", b"") for message in self.messages)
        return raw.decode().removesuffix("\n\n").split("\n\n")


@pytest.fixture
def sent(tmp_path: Path) -> Sent:
    return Sent(write_folder(tmp_path))


def data(event: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(event.removeprefix("data: "))
    return found


def test_a_comment_when_the_engine_says_nothing(sent: Sent) -> None:
    """In its place between the events, with which OpenAI's clients have nothing to do."""
    asyncio.run(sent.run("a", stream=True))
    role, first, token, second, last, done = sent.events
    assert (first, second, done) == (": working", ": working", "data: [DONE]")
    assert data(role)["choices"][0]["delta"]["role"] == "assistant"
    assert data(token)["choices"][0]["delta"]["content"]
    assert data(last)["choices"][0]["finish_reason"] == "length"
    assert sent.starts == [200]


def test_the_engine_ticks_when_nothing_comes() -> None:
    async def main() -> list[Tick]:
        engine = Engine(Status(), lambda _model: None, BEAT)
        engine._writer = Nobody()  # type: ignore[assignment]
        ticks = []
        async for tick in engine.generate(wire.Job("x", (1,), 1, 0.0, 1.0, None, ())):
            ticks.append(tick)
            if len(ticks) == 2:
                engine._running["x"].put_nowait({"kind": "token", "token": 7})
            if len(ticks) == 3:
                engine._running["x"].put_nowait({"kind": "done", "reason": "stop"})
        return ticks

    assert asyncio.run(main()) == [Tick(), Tick(), Tick(7), Tick(done="stop")]


class Nobody:
    """A connection to an engine that only listens."""

    def write(self, _line: bytes) -> None:
        """Nothing is done."""

    def is_closing(self) -> bool:
        return False


def waited(sent: Sent, then: Callable[[], Any], *, stream: bool, beats: int) -> None:
    """A request that waits for its turn for a number of heartbeats; then calls `then`."""

    async def main() -> None:
        await sent.queue.acquire("x")
        task = asyncio.create_task(sent.run("a", stream=stream))
        while sent.queue.waiting == 0:
            await asyncio.sleep(0)
        while sum(b"waiting" in message.get("body", b"") for message in sent.messages) < beats:
            await asyncio.sleep(BEAT / 5)
        then()
        await task
        assert sent.queue.waiting == 0

    asyncio.run(main())


def test_a_stream_that_waits_says_so(sent: Sent) -> None:
    waited(sent, sent.queue.release, stream=True, beats=2)
    events = sent.events
    assert sent.starts == [200]
    assert events[:2] == [": waiting", ": waiting"]
    assert events[-1] == "data: [DONE]"
    assert [event for event in events if event == ": working"] == [": working"] * 2


def test_a_stream_that_waited_and_is_sent_away_says_why(sent: Sent) -> None:
    """It has begun with 200, so the error is its last event, and there is no [DONE]."""
    waited(sent, sent.queue.close, stream=True, beats=1)
    assert sent.starts == [200]
    assert sent.events[0] == ": waiting"
    assert data(sent.events[-1])["error"]["code"] == "stopping"
    assert sent.messages[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


def test_before_the_first_beat_an_error_is_a_status(sent: Sent) -> None:
    with pytest.raises(ApiError, match="stopping"):
        waited(sent, sent.queue.close, stream=True, beats=0)
    assert sent.messages == []


def test_a_whole_answer_begins_with_blanks_while_it_waits(sent: Sent) -> None:
    """A blank each beat, which JSON allows before a value: the answer is the same for its reader."""

    async def main() -> None:
        await sent.queue.acquire("x")
        task = asyncio.create_task(sent.run("a", stream=False))
        while len(sent.messages) < 3:
            await asyncio.sleep(BEAT / 5)
        sent.queue.release()
        await task

    asyncio.run(main())
    assert sent.starts == [200]
    raw = b"".join(message.get("body", b"") for message in sent.messages)
    assert raw.startswith(b"  ")
    assert json.loads(raw)["choices"][0]["finish_reason"] == "length"
    assert sent.messages[-1]["more_body"] is False


def test_a_whole_answer_that_does_not_wait_has_its_length(sent: Sent) -> None:
    """Without a beat nothing is sent before the answer, as clients expect it."""

    async def main() -> None:
        sent.heartbeats_off()
        await sent.run("a", stream=False)

    asyncio.run(main())
    start, body = sent.messages
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()


def test_a_whole_answer_that_began_and_fails_stays_incomplete(sent: Sent) -> None:
    """Status 200 has gone out: the error is written, and the answer never ends, so that no client takes it for one."""

    async def main() -> None:
        await sent.queue.acquire("x")
        task = asyncio.create_task(sent.run("a", stream=False))
        while not sent.messages:
            await asyncio.sleep(BEAT / 5)
        sent.queue.close()
        await task

    asyncio.run(main())
    assert sent.starts == [200]
    assert all(message["more_body"] for message in sent.messages[1:])
    assert json.loads(sent.messages[-1]["body"])["error"]["code"] == "stopping"


def test_a_stream_whose_client_leaves_while_it_waits_gives_up_its_place(sent: Sent) -> None:
    async def main() -> None:
        await sent.queue.acquire("x")
        task = asyncio.create_task(sent.run("a", stream=True))
        while not sent.messages:
            await asyncio.sleep(BEAT / 5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert sent.queue.waiting == 0
        sent.queue.release()
        assert not sent.queue.busy

    asyncio.run(main())
