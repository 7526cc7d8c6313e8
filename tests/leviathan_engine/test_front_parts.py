"""The queue, the text, the progress and the memory of the front, each alone."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leviathan_engine.front import memory
from leviathan_engine.front.api_error import ApiError
from leviathan_engine.front.fair_queue import FairQueue
from leviathan_engine.front.generation.text import TextStream
from leviathan_engine.front.status import Status
from leviathan_engine.wire import ServedModel


def utf8(ids: Sequence[int]) -> str:
    return bytes(ids).decode("utf-8", "replace")


def run(text: str, stop: Sequence[str]) -> tuple[str, list[str], bool]:
    stream = TextStream(utf8, stop)
    pieces = [stream.push(byte) for byte in text.encode()]
    pieces.append(stream.finish())
    return "".join(pieces), pieces, stream.stopped


@given(st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_text_comes_whole_and_in_whole_characters(text: str) -> None:
    whole, pieces, stopped = run(text, ())
    assert (whole, stopped) == (text, False)
    assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in text


@given(st.text("abé€😀", max_size=40), st.lists(st.text("abé€", min_size=1, max_size=4), max_size=3))
@settings(max_examples=100, deadline=None)
def test_nothing_from_the_first_stop_on_is_given_out(text: str, stop: list[str]) -> None:
    """What was given out is never taken back: it is a prefix of the text, and the whole of it without a stop."""
    whole, _pieces, stopped = run(text, stop)
    cuts = [text.find(one) for one in stop if one in text]
    assert stopped == bool(cuts)
    assert not any(one in whole for one in stop)
    assert text.startswith(whole)
    if not cuts:
        assert whole == text


def streamed(tokens: Sequence[bytes], stop: Sequence[str]) -> tuple[str, list[str], bool]:
    """The text that tokens of these bytes give out, in all and in pieces, and whether a stop string has ended it."""
    stream = TextStream(lambda ids: b"".join(tokens[i] for i in ids).decode("utf-8", "replace"), stop)
    pieces = [stream.push(i) for i in range(len(tokens))]
    pieces.append(stream.finish())
    return "".join(pieces), pieces, stream.stopped


STOPPED: list[tuple[str, list[str], list[str], str]] = [
    ("inside of one token", ["one ", "two STOP three"], ["STOP"], "one two "),
    ("a token of its own", ["one", "STOP", "two"], ["STOP"], "one"),
    ("at the beginning", ["STOPone"], ["STOP"], ""),
    ("across two tokens", ["one S", "TOP two"], ["STOP"], "one "),
    ("a character a token", [*"one STOP two"], ["STOP"], "one "),
    ("begun twice", ["one STO", "STO", "P"], ["STOP"], "one STO"),
    ("the earliest of two in one token", ["a END b STOP c"], ["STOP", "END"], "a "),
    ("the earliest in any order", ["a END b STOP c"], ["END", "STOP"], "a "),
    ("with what was held for another", ["aaEN", "STOP"], ["STOP", "END"], "aaEN"),
    ("one that is the beginning of another", ["a EN", "D"], ["ENDS", "EN"], "a "),
    ("of more than ASCII", ["\u00e9\u20ac", "\U0001f600\u00e9x"], ["\U0001f600\u00e9"], "\u00e9\u20ac"),
    ("with the last token", ["one ", "STOP"], ["STOP"], "one "),
]


@pytest.mark.parametrize(("tokens", "stop", "text"), [case[1:] for case in STOPPED], ids=[case[0] for case in STOPPED])
def test_the_text_before_a_stop_string_is_given_out_to_the_last_character(
    tokens: list[str], stop: list[str], text: str
) -> None:
    whole, pieces, stopped = streamed([token.encode() for token in tokens], stop)
    assert (whole, stopped, pieces[-1]) == (text, True, "")


def test_a_character_in_several_tokens_before_a_stop_string() -> None:
    """The bytes of a character, and those of the stop string's own, come in tokens of one to three bytes."""
    raw = "a\U0001f600\u20ac.b".encode()
    for size in (1, 2, 3):
        tokens = [raw[i : i + size] for i in range(0, len(raw), size)]
        assert streamed(tokens, ["\u20ac."])[::2] == ("a\U0001f600", True)
        assert streamed(tokens, ["\u20acb"])[::2] == (raw.decode(), False)


@given(st.lists(st.text("ab\u00e9\u20ac", min_size=1, max_size=4), max_size=8), st.data())
@settings(max_examples=200, deadline=None)
def test_exactly_the_text_before_the_earliest_stop_string(tokens: list[str], data: st.DataObject) -> None:
    """The other way to find it: after each token, the whole text so far is searched."""
    stop = data.draw(st.lists(st.text("ab\u00e9\u20ac", min_size=1, max_size=3), max_size=3))
    want, ends = "".join(tokens), False
    for count in range(1, len(tokens) + 1):
        seen = "".join(tokens[:count])
        if places := [seen.find(one) for one in stop if one in seen]:
            want, ends = seen[: min(places)], True
            break
    assert streamed([token.encode() for token in tokens], stop)[::2] == (want, ends)


def test_broken_bytes_are_not_held_for_ever() -> None:
    stream = TextStream(utf8)
    assert any(stream.push(0xFF) for _ in range(20))


def test_clients_take_turns() -> None:
    """One client's five requests do not keep another's one waiting until the end."""

    async def main() -> list[str]:
        queue, order = FairQueue(10), list[str]()

        async def one(client: str) -> None:
            await queue.acquire(client)
            order.append(client)
            await asyncio.sleep(0)
            queue.release()

        await queue.acquire("x")
        tasks = [asyncio.create_task(one(client)) for client in ("a", "a", "a", "b", "c")]
        await asyncio.sleep(0.01)
        assert queue.waiting == 5
        queue.release()
        await asyncio.gather(*tasks)
        assert not queue.busy
        return order

    assert asyncio.run(main()) == ["a", "b", "c", "a", "a"]


def test_a_full_queue_refuses_but_a_new_client_gets_a_place() -> None:
    async def main() -> tuple[int, int]:
        queue = FairQueue(2)
        await queue.acquire("x")
        first = asyncio.create_task(queue.acquire("a"))
        second = asyncio.create_task(queue.acquire("a"))
        await asyncio.sleep(0.01)
        with pytest.raises(ApiError) as refused:
            await queue.acquire("a")
        other = asyncio.create_task(queue.acquire("b"))
        await asyncio.sleep(0.01)
        with pytest.raises(ApiError) as evicted:
            await second
        queue.release()
        await first
        queue.release()
        await other
        return refused.value.status, evicted.value.status

    assert asyncio.run(main()) == (429, 429)


def test_who_leaves_the_queue_gives_the_turn_on() -> None:
    async def main() -> None:
        queue = FairQueue(5)
        await queue.acquire("x")
        left = asyncio.create_task(queue.acquire("a"))
        stays = asyncio.create_task(queue.acquire("b"))
        late = asyncio.create_task(queue.acquire("c"))
        await asyncio.sleep(0.01)
        left.cancel()
        await asyncio.sleep(0.01)
        assert queue.waiting == 2
        queue.release()
        stays.cancel()  # in the moment in which its turn comes
        await asyncio.wait_for(late, 5)
        queue.release()
        assert not queue.busy

    asyncio.run(main())


def test_closing_sends_the_waiting_away() -> None:
    async def main() -> list[int]:
        queue = FairQueue(5)
        await queue.acquire("x")
        waits = asyncio.create_task(queue.acquire("a"))
        await asyncio.sleep(0.01)
        queue.close()
        found = await asyncio.gather(waits, queue.acquire("b"), return_exceptions=True)
        return [error.status for error in found if isinstance(error, ApiError)]

    assert asyncio.run(main()) == [503, 503]


def test_the_estimate_follows_the_rate() -> None:
    now = [0.0]
    status = Status(lambda: now[0])
    assert status.estimate() is None
    status.model = ServedModel("m", "", 512, 400, 100, 61, 1000, start_seconds=50.0)
    assert status.estimate() == 50.0
    status.progress(0, 1)
    now[0] = 10.0
    status.progress(12, 200)
    assert status.estimate() == 40.0
    report = status.report()
    assert (report["percent"], report["layers_loaded"], report["layers"], report["bytes"]) == (20.0, 12, 61, 1000)
    assert report["status"] == "loading"
    status.answer()
    assert (status.report()["status"], status.report()["percent"], status.estimate()) == ("ok", 100.0, 0.0)
    status.fail("the disk is gone")
    assert (status.ready, status.report()["status"], status.report()["detail"]) == (False, "failed", "the disk is gone")


def test_the_estimate_with_files_that_are_read_ahead() -> None:
    """First the disk's rate, from the first moment on; after the last byte the loader's, from its first byte on."""
    now = [0.0]
    status = Status(lambda: now[0])
    status.model = ServedModel("m", "", 512, 400, 100, 61, 1000, start_seconds=50.0)
    status.progress(0, 0, 0, 1000)
    assert status.estimate() == 50.0
    now[0] = 10.0
    status.progress(0, 0, 400, 1000)
    assert status.estimate() == 15.0
    now[0] = 20.0
    status.progress(1, 10, 800, 1000)  # the loader's own rate would say half an hour
    assert status.estimate() == 5.0
    now[0] = 30.0
    status.progress(31, 500, 1000, 1000)
    assert status.estimate() == 10.0
    assert status.report()["bytes_read"] == 1000


def test_the_memory_of_container_and_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel's files say; without them the lines are left out, and a process that has gone is none."""

    def named() -> dict[str, float]:
        samples = [sample for family in memory.gauges(status, FairQueue(1)) for sample in family.samples]
        return {sample.name: sample.value for sample in samples if not sample.labels}

    status = Status()
    status.memory = {"pid": os.getpid()}
    (tmp_path / "own").write_text("0::/kubepods/x\n")
    monkeypatch.setattr(memory.cgroup.memory_used, "__defaults__", (tmp_path, tmp_path / "own"))
    assert "leviathan_memory_bytes" not in named()
    (tmp_path / "kubepods" / "x").mkdir(parents=True)
    (tmp_path / "kubepods" / "x" / "memory.current").write_text("386547056640\n")
    assert named()["leviathan_memory_bytes"] == 360 << 30
    assert named()["leviathan_engine_resident_bytes"] > 1 << 20
    status.memory = {"pid": 1 << 30}
    assert "leviathan_engine_resident_bytes" not in named()
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "status").write_text("Name:\tx\nVmRSS:\t    1024 kB\n")
    assert memory.resident(7, tmp_path) == 1 << 20
