"""What a request costs the front besides its work: one write for an answer, one timer for an engine that is slow."""

import asyncio
from pathlib import Path

from bad_clients import chat, connect, request
from front_process import FrontProcess

from leviathan_engine import wire
from leviathan_engine.front.engine import Engine, Tick
from leviathan_engine.front.status import Status

JOB = wire.Job("j", (1, 2), 9, 0.0, 1.0, None, ())


def test_a_whole_answer_leaves_in_one_write(tmp_path: Path) -> None:
    """Its head and its body reach the client with the first read, each of ten times on one connection."""
    front = FrontProcess(tmp_path)
    try:
        front.serve()
        with connect(front.url) as client:
            for _ in range(10):
                client.sendall(request("/v1/chat/completions", chat(1, stream=False)))
                head, _, body = client.recv(65536).partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200"), head
                assert body.startswith(b"{"), body
                assert body.endswith(b"}"), body
    finally:
        front.close()


async def ticks_of(beat: float, silences: tuple[float, ...], folder: Path) -> list[Tick]:
    """What a job gives whose engine sends a token after each of `silences` (seconds), and then ends."""
    engine = Engine(Status(), lambda _model: None, beat)
    await engine.listen(folder / "s")
    reader, writer = await asyncio.open_unix_connection(folder / "s")
    writer.write(wire.encode({"kind": "ready"}))
    while engine._writer is None:
        await asyncio.sleep(0.001)

    async def answer() -> None:
        await reader.readline()
        for token, silence in enumerate(silences):
            await asyncio.sleep(silence)
            writer.write(wire.encode(wire.token_message(JOB.id, token)))
        writer.write(wire.encode({"kind": "done", "id": JOB.id, "reason": "stop"}))

    answering = asyncio.create_task(answer())
    ticks = [tick async for tick in engine.generate(JOB)]
    await answering
    writer.close()
    await engine.close()
    return ticks


def test_a_silent_engine_gives_empty_ticks(tmp_path: Path) -> None:
    """One each heartbeat, before the first token and between two; none where tokens come in time."""
    ticks = asyncio.run(ticks_of(0.2, (0.7, 0.0, 0.5), tmp_path))
    kinds = ["done" if tick.done else "silence" if tick.token is None else "token" for tick in ticks]
    first, second = kinds.index("token"), kinds.index("token", kinds.index("token") + 1)
    assert 2 <= first <= 4
    assert second == first + 1
    assert set(kinds[second + 1 : -2]) == {"silence"}
    assert kinds[-2:] == ["token", "done"]


def test_tokens_in_time_have_no_silence_between_them(tmp_path: Path) -> None:
    ticks = asyncio.run(ticks_of(5.0, (0.01,) * 20, tmp_path))
    assert [tick.token for tick in ticks] == [*range(20), None]
