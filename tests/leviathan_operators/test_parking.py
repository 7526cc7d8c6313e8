"""Parking costs no prompt anything: pages go to disk behind its back, and to main memory before they have to leave."""

import threading
import time
from collections.abc import Sequence

import pytest
from fake_store import FakeStore, digests

from leviathan_operators.cache import ParkedPages, PrefixCache
from leviathan_operators.cache.parked import WAITING, Blob


class SlowShelf:
    """A disk that takes `seconds` a page, and nothing at all while `go` is cleared."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.pages: dict[bytes, bytes] = {}
        self.seconds = seconds
        self.go = threading.Event()
        self.go.set()

    def holds(self, key: bytes) -> bool:
        return key in self.pages

    def put(self, key: bytes, blob: Blob) -> None:
        self.go.wait()
        time.sleep(self.seconds)
        self.pages[key] = bytes(blob)

    def get(self, key: bytes) -> Blob | None:
        return self.pages.get(key)


class CountingStore(FakeStore):
    """Counts the pages that are copied to main memory."""

    def __init__(self, pages: int) -> None:
        super().__init__(pages)
        self.reads = 0

    def read(self, pages: Sequence[int]) -> list[bytes | bytearray | memoryview]:
        self.reads += len(pages)
        return super().read(pages)


def talk(cache: PrefixCache, store: FakeStore, number: int, length: int = 256) -> int:
    ids = [number * 1000 + n for n in range(length)]
    sequence = cache.open(ids)
    reused = sequence.reused
    assert store.held(sequence.pages, reused) == digests(ids)[:reused]
    cache.reserve(sequence, length)
    store.feed(sequence.pages, reused, digests(ids)[reused:])
    cache.commit(sequence, ids[reused:])
    cache.close(sequence)
    return reused


def key(number: int) -> bytes:
    return bytes([number]) * 20


def test_parking_does_not_wait_for_the_disk() -> None:
    """Three seconds of writing are begun; who parks is back within a fraction of that."""
    shelf = SlowShelf(0.1)
    parked = ParkedPages(64, shelf)
    began = time.monotonic()
    for number in range(30):
        parked.park(key(number), bytes([number]))
    assert time.monotonic() - began < 1.0
    assert parked.fetch(key(29)) == bytes([29])  # from main memory: it is not on the disk yet
    assert len(shelf.pages) < 20
    assert parked.settle(30)
    assert len(shelf.pages) == 30


def test_a_disk_that_hangs_holds_no_more_than_the_bound() -> None:
    shelf = SlowShelf()
    shelf.go.clear()
    parked = ParkedPages(0, shelf)
    for number in range(WAITING + 20):
        parked.park(key(number), b"page")
    assert len(parked) == WAITING
    assert parked.dropped == 20
    assert not parked.settle(0.05)
    shelf.go.set()
    assert parked.settle(30)
    # The one that was being written when the disk began to hang came through, too.
    assert WAITING <= len(shelf.pages) <= WAITING + 1


def test_a_prompt_finds_room_without_a_copy() -> None:
    """What would leave next was parked in a quiet moment: taking its pages reads nothing."""
    store = CountingStore(32)
    cache = PrefixCache(32, store, ParkedPages(64))
    for number in range(8):
        talk(cache, store, number)
    assert (cache.evicted, store.reads) == (0, 0)
    assert not cache.park_ahead()
    assert store.reads == 8  # a quarter of the pages
    talk(cache, store, 8)
    talk(cache, store, 9)
    assert (cache.evicted, store.reads) == (8, 8)
    assert talk(cache, store, 0) == 192
    assert store.reads > 8  # the control: without a quiet moment in between it is copied at once


def test_quiet_moments_come_to_an_end() -> None:
    """Also where main memory holds few pages: what is parked ahead must not push itself out."""
    for room in (1, 2, 5, 1000):
        store = CountingStore(400)
        cache = PrefixCache(400, store, ParkedPages(room))
        for number in range(100):
            talk(cache, store, number)
        rounds = 0
        while cache.park_ahead():
            rounds += 1
            assert rounds < 20
        before = store.reads
        assert not cache.park_ahead()
        assert store.reads == before


@pytest.mark.parametrize("pages", [64])
def test_keys_of_a_long_conversation_are_computed_once(pages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    module = __import__("leviathan_operators.cache.prefix_cache", fromlist=["page_key"])
    original, calls = module.page_key, []
    monkeypatch.setattr(module, "page_key", lambda *words: calls.append(1) or original(*words))
    store = CountingStore(pages)
    cache = PrefixCache(pages, store, ParkedPages(2 * pages))
    talk(cache, store, 0, 64 * pages)
    calls.clear()
    talk(cache, store, 9, 64 * pages)
    assert store.reads == pages
    assert len(calls) <= 2 * pages  # the first one's, and the look for what is parked of the second
