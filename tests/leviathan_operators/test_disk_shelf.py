"""Parked pages on disk survive the process; what is cut, damaged or another model's is not believed."""

import errno
from pathlib import Path

import pytest
from fake_store import FakeStore, digests

from leviathan_operators.cache import ParkedPages, PrefixCache
from leviathan_operators.cache import disk_shelf as module
from leviathan_operators.cache.disk_shelf import HEADER, DiskShelf

VERSION, OTHER = bytes(range(20)), bytes(20)
KEY, PAGE = b"k" * 20, b"page" * 100
PLENTY = 1 << 30


def shelf(folder: Path, version: bytes = VERSION, most: int = PLENTY) -> tuple[DiskShelf, list[str]]:
    said: list[str] = []
    return DiskShelf(folder, version, most, said.append), said


def kept(folder: Path) -> Path:
    """A folder with one page; returns its file."""
    one, _said = shelf(folder)
    one.put(KEY, PAGE)
    [path] = folder.rglob("*.page")
    return path


def test_a_page_comes_back_after_a_restart(tmp_path: Path) -> None:
    kept(tmp_path)
    again, said = shelf(tmp_path)
    page = again.get(KEY)
    assert page is not None
    assert bytes(page) == PAGE
    assert again.get(b"x" * 20) is None
    assert said == []


def test_another_models_pages_are_not_seen_and_not_removed(tmp_path: Path) -> None:
    path = kept(tmp_path)
    other, said = shelf(tmp_path, OTHER)
    assert other.get(KEY) is None
    assert path.exists()
    assert said == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda b: b[: HEADER.size // 2], "cut off"),
        (lambda b: b[:-1], "cut off (399 of 400 bytes)"),
        (lambda b: b[:-1] + b"X", "its digest does not match"),
        (lambda b: b"Z" + b[1:], "not a page"),
        (lambda b: b[:8] + OTHER + b[28:], "from another model or conversation"),
        (lambda b: b[:28] + b"j" * 20 + b[48:], "from another model or conversation"),
        (lambda b: b"", "cut off"),
    ],
)
def test_a_damaged_page_is_removed(tmp_path: Path, damage: object, words: str) -> None:
    path = kept(tmp_path)
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    again, said = shelf(tmp_path)
    assert again.get(KEY) is None
    assert words in said[0]
    assert not path.exists()
    again.put(KEY, PAGE)
    assert again.get(KEY) is not None


def test_the_bound_is_kept_and_the_oldest_page_leaves(tmp_path: Path) -> None:
    size = HEADER.size + len(PAGE)
    few, _said = shelf(tmp_path, most=3 * size)
    keys = [bytes([n]) * 20 for n in range(5)]
    for key in keys[:3]:
        few.put(key, PAGE)
    assert few.get(keys[0]) is not None
    for key in keys[3:]:
        few.put(key, PAGE)
    assert few.used == 3 * size
    assert [few.get(key) is not None for key in keys] == [True, False, False, True, True]
    fewer, _said = shelf(tmp_path, most=size)
    assert fewer.used == size


def test_a_full_disk_ends_the_keeping_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, said = shelf(tmp_path)

    def full(*_arguments: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "header", full)
    for number in range(3):
        one.put(bytes([number]) * 20, PAGE)
    assert len(said) == 1
    assert "No space left on device; conversations are no longer kept on this disk" in said[0]
    assert one.get(bytes([0]) * 20) is None


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    path = kept(tmp_path)
    part = path.with_suffix(".part")
    part.write_bytes(b"half")
    shelf(tmp_path)
    assert not part.exists()


def test_conversations_go_to_disk_and_come_back(tmp_path: Path) -> None:
    """Through main memory, and after a restart only through the disk."""
    first, second = ([number * 1000 + n for n in range(256)] for number in range(2))
    for restart in range(2):
        store = FakeStore(4)
        disk, _said = shelf(tmp_path)
        cache = PrefixCache(4, store, ParkedPages(2, disk))
        for ids in (first, second, first):
            sequence = cache.open(ids)
            assert store.held(sequence.pages, sequence.reused) == digests(ids)[: sequence.reused]
            if restart or (ids is first and cache.evicted):
                assert sequence.reused == 192
            cache.reserve(sequence, len(ids))
            store.feed(sequence.pages, sequence.reused, digests(ids)[sequence.reused :])
            cache.commit(sequence, ids[sequence.reused :])
            cache.close(sequence)
        assert cache.settle(30)
