"""Experts in page-locked memory: what is locked, where the rings find it, and what the log says."""

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from expert_files import placed_layer

from leviathan_engine.gguf.types import GgmlType
from leviathan_operators import install_experts as install
from leviathan_operators.experts import page_locked
from leviathan_operators.experts.calibrate import Rates
from leviathan_operators.experts.files import LayerFiles, Weight
from leviathan_operators.experts.page_locked import PAGE, PageLocked, parts

BASE = 1 << 40


class Kernels:
    """As the library: maps a part of a file to an address from which file and offset can be told; null after `most`
    calls."""

    def __init__(self, most: int = 1 << 30) -> None:
        self.most, self.threads = most, set[str]()
        self.locked: list[tuple[int, int, int]] = []

    def leviathan_page_lock(self, file: int, offset: int, size: int) -> int | None:
        assert offset % PAGE == 0
        assert size > 0
        self.threads.add(threading.current_thread().name)
        if len(self.locked) == self.most:
            return None
        self.locked.append((file, offset, size))
        return BASE * (file + 1) + offset

    def leviathan_page_lock_error(self) -> bytes:
        return b"CUDA cannot page-lock the model's file: out of memory"


class Rings:
    """As a ring: remembers what it was told, and that each byte was told once, at the address of its file's offset."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, int, int]] = []

    def page_locked(self, file: int, offset: int, size: int, address: int) -> None:
        assert address == BASE * (file + 1) + offset
        assert all(file != f or offset + size <= o or o + s <= offset for f, o, s in self.runs)
        self.runs.append((file, offset, size))

    def has(self, file: int, offset: int, size: int) -> bool:
        """Whether a run lies in one part: the ring copies it at once."""
        return any(f == file and o <= offset and offset + size <= o + s for f, o, s in self.runs)


def layer(number: int, size: int = 1000, experts: int = 8) -> LayerFiles:
    """Gate and up in file 5, down in file 6, at offsets that are not multiples of a page."""
    begin = 96 + number * 3 * size * experts
    gate, up, down = (Weight(file, begin + n * size * experts, size, GgmlType.Q4_K) for n, file in enumerate((5, 5, 6)))
    return LayerFiles(number, gate, up, down, experts=experts, width=256, hidden=256)


def built(kernels: Kernels, layers: Any, room: int, rings: int = 2) -> tuple[PageLocked, list[Rings], list[str]]:
    there, said = [Rings() for _ in range(rings)], list[str]()
    return PageLocked(kernels, there, layers, room, said.append), there, said  # type: ignore[arg-type]


def wanted(files: LayerFiles, experts: Sequence[int]) -> set[tuple[int, int, int]]:
    return {run[:3] for number in experts for run in files.runs(number)}


@pytest.mark.parametrize(
    ("experts", "runs"),
    [
        ([], []),
        ([3], [(330, 1)]),
        ([0, 1, 2], [(300, 3)]),
        ([0, 1, 3, 4, 7], [(300, 2), (330, 2), (370, 1)]),
        (range(9), [(300, 4), (340, 4), (380, 1)]),
    ],
)
def test_neighbours_are_one_part(
    monkeypatch: pytest.MonkeyPatch, experts: Sequence[int], runs: list[tuple[int, int]]
) -> None:
    """Experts of 10 bytes, and parts of 45 at the most."""
    monkeypatch.setattr(page_locked, "PART", 45)
    assert parts(Weight(5, 300, 10, GgmlType.Q4_K), experts) == [(offset, count * 10) for offset, count in runs]


def test_an_expert_larger_than_a_part_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_locked, "PART", 5)
    assert parts(Weight(5, 300, 10, GgmlType.Q4_K), [1, 2]) == [(310, 10), (320, 10)]


@pytest.mark.parametrize("part", [999, 2500, 5000, 1 << 30])
def test_the_rings_find_what_is_locked(monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    """Every absent expert's runs, on both rings, and no resident expert's."""
    monkeypatch.setattr(page_locked, "PART", part)
    kernels, files, absent = Kernels(), layer(3), [0, 1, 2, 5, 7]
    locked, rings, said = built(kernels, [(files, absent)], 3 * 5 * 1000)
    locked.first(0)
    for ring in rings:
        assert all(ring.has(*run) for run in wanted(files, absent))
        assert not any(ring.has(*run) for run in wanted(files, [3, 4, 6]))
        assert sum(size for _, _, size in ring.runs) == 3 * 5 * 1000
    # Each mapping begins on the page of its part, and ends with it.
    assert [(f, o // PAGE * PAGE, o + s) for f, o, s in rings[0].runs] == [(f, o, o + s) for f, o, s in kernels.locked]
    assert any(o % PAGE for _, o, _ in rings[0].runs)
    assert said == []


def test_every_layer_is_locked_once_the_measured_one_first() -> None:
    kernels, layers = Kernels(), [(layer(n), [n, n + 1]) for n in range(4)]
    locked, (ring, _), said = built(kernels, layers, 4 * 6000)
    locked.first(2)
    assert {run[:3] for run in ring.runs} == {
        (w.file, o, s) for w in _weights(layers[2][0]) for o, s in parts(w, [2, 3])
    }
    assert kernels.threads == {"MainThread"}
    locked.start()
    locked.join()
    order = [(w.file, *part) for n in (2, 0, 1, 3) for w in _weights(layers[n][0]) for part in parts(w, layers[n][1])]
    assert ring.runs == order
    assert kernels.threads == {"MainThread", "page-lock"}
    (line,) = said
    assert line.startswith("experts: 0.0 GB are page-locked after ")
    assert line.endswith(" s: no thread reads them")


def _weights(files: LayerFiles) -> tuple[Weight, Weight, Weight]:
    return files.gate, files.up, files.down


@pytest.mark.parametrize("room", [0, 1, 5999])
def test_without_room_for_all_nothing_is_locked(room: int) -> None:
    """The log says it, unless page-locking is switched off."""
    kernels = Kernels()
    size = 10**9
    locked, rings, said = built(kernels, [(layer(0, size), [0]), (layer(1, size), [4])], room * 10**6)
    locked.first(0)
    locked.start()
    locked.join()
    assert kernels.locked == rings[0].runs == []
    assert not locked.fits
    line = (
        f"experts: not page-locked: 6.0 GB may be streamed, and there is room for {room / 1000:.1f}; threads read them"
        " for each long prompt"
    )
    assert said == ([line] if room else [])


@pytest.mark.parametrize(
    ("most", "gb"), [(0, "0.0"), (2, "2.0"), (3, "3.0"), (7, "7.0"), (11, "11.0")]
)  # parts of 1 GB, three in a layer
def test_a_refusal_ends_it(most: int, gb: str) -> None:
    """What is locked stays in use; the others are not tried, and one line says so."""
    kernels = Kernels(most)
    locked, (ring, other), said = built(kernels, [(layer(n, 10**9), [n]) for n in range(4)], 12 * 10**9)
    assert locked.fits
    locked.first(2)
    locked.start()
    locked.join()
    assert len(kernels.locked) == len(ring.runs) == most
    assert ring.runs == other.runs
    assert not locked.fits
    assert said == [
        f"experts: {gb} GB are page-locked, threads read the others: CUDA cannot page-lock the model's file: out of"
        " memory"
    ]


def test_the_processs_end_does_not_wait_for_all() -> None:
    """The part that is being locked is the last one; nothing is said of it."""
    kernels, begun, go = Kernels(), threading.Event(), threading.Event()
    lock = kernels.leviathan_page_lock

    def slow(*arguments: int) -> int | None:
        begun.set()
        assert go.wait(10)
        return lock(*arguments)

    locked, (ring, _), said = built(kernels, [(layer(n), [n]) for n in range(4)], 12000)
    locked.first(2)
    kernels.leviathan_page_lock = slow  # type: ignore[method-assign]
    locked.start()
    assert begun.wait(10)
    threading.Timer(0.1, go.set).start()
    locked.stop()
    assert len(ring.runs) == 3 + 1
    assert said == []


@pytest.mark.parametrize("room", [0, 10**9])
def test_if_all_experts_are_resident_there_is_nothing_to_say(room: int) -> None:
    kernels = Kernels()
    locked, rings, said = built(kernels, [(layer(0), []), (layer(1), [])], room)
    locked.first(1)
    locked.start()
    locked.join()
    assert kernels.locked == rings[0].runs == said == []


def test_one_layer_alone_is_locked_by_first() -> None:
    locked, _, said = built(Kernels(), [(layer(0, 10**9), [0, 1])], 6 * 10**9)
    locked.first(0)
    locked.start()
    locked.join()
    assert [line.split(" after ")[0] for line in said] == ["experts: 6.0 GB are page-locked"]


@pytest.mark.parametrize("room", [0, 1 << 40])
def test_the_start_locks_what_is_streamed(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """The absent experts of all layers: that of the middle before it is measured, the others after the threshold."""
    placed, kernels = [placed_layer(n) for n in (3, 4, 5)], Kernels()
    for one in placed:
        one.module.device_layer = SimpleNamespace(stream=lambda *_: None)
    size, ring, built = placed[0].files.gate.bytes, Told(), list[PageLocked]()

    class Kept(PageLocked):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            built.append(self)

    monkeypatch.setattr(install, "PageLocked", Kept)
    held = {4: SimpleNamespace(addresses={1: (0, 0, 0)}), 5: SimpleNamespace(addresses={0: (0, 0, 0), 3: (0, 0, 0)})}
    here: Any = SimpleNamespace(layers=placed, ring=ring, products=None, held=held)
    measured: list[list[tuple[int, int]]] = []

    def stand_in(*_: Any, **_more: Any) -> tuple[list[int], Rates]:
        measured.append(list(ring.told))
        return [1], Rates(0.14, 0.24)

    monkeypatch.setattr(install, "_measure", stand_in)
    said: list[str] = []
    options = install.Options(page_lock=room)
    install._streaming(kernels, {"cuda:0": here}, options, said.append)  # type: ignore[arg-type]
    (locked,) = built
    locked.join()
    middle = [(0, size), (2 * size, 2 * size)] * 3
    assert measured == [middle if room else []]
    assert ring.told == (middle + [(0, 4 * size)] * 3 + [(size, 2 * size)] * 3 if room else [])
    assert ("GB/s, page-locked)" in said[0]) is bool(room)
    assert ("GB/s, 2 readers)" in said[0]) is (room == 0)
    assert len(said) == (2 if room else 1)


class Told:
    """A ring for layers that all lie in the same place of the same file."""

    threads = 2

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def page_locked(self, file: int, offset: int, size: int, address: int) -> None:
        assert file == 0
        assert address == BASE + offset
        self.told.append((offset, size))
