"""Experts in page-locked memory: what is locked, where the rings find it, and what the log says."""

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from expert_files import placed_layer

from leviathan_engine.gguf.types import GgmlType
from leviathan_operators import install_experts as install
from leviathan_operators.experts.calibrate import Rates
from leviathan_operators.experts.files import LayerFiles, Weight
from leviathan_operators.experts.installed import Installed
from leviathan_operators.experts.page_locked import PAGE, PageLocked
from leviathan_operators.experts.placement import Swap

BASE, APART = 1 << 50, 1 << 40


class Kernels:
    """As the library: maps a part of a file to an address from which file and offset can be told; null after `most`
    calls."""

    def __init__(self, most: int = 1 << 30) -> None:
        self.most, self.threads = most, set[str]()
        self.asked: list[tuple[int, int, int]] = []
        self.locked: dict[int, int] = {}

    def leviathan_page_lock(self, file: int, offset: int, size: int) -> int | None:
        assert offset % PAGE == 0
        assert size > 0
        self.threads.add(threading.current_thread().name)
        if len(self.asked) == self.most:
            return None
        self.asked.append((file, offset, size))
        address = BASE * (file + 1) + offset + len(self.asked) * APART  # a mapping of its own
        self.locked[address] = size
        return address

    def leviathan_page_unlock(self, address: int, size: int) -> None:
        assert self.locked.pop(address) == size

    def leviathan_page_lock_error(self) -> bytes:
        return b"CUDA cannot page-lock the model's file: out of memory"


class Rings:
    """As a ring: remembers what it was told, and copies nothing from what has been unlocked."""

    threads = 2

    def __init__(self) -> None:
        self.runs: dict[tuple[int, int], int] = {}
        self.order: list[tuple[int, int, int]] = []
        self.idled = 0

    def page_locked(self, file: int, offset: int, size: int, address: int) -> None:
        assert address % APART == offset
        assert address // BASE == file + 1
        assert (file, offset) not in self.runs
        self.runs[file, offset] = size
        self.order.append((file, offset, size))

    def page_unlocked(self, file: int, offset: int) -> None:
        assert self.idled
        del self.runs[file, offset]

    def idle(self) -> None:
        self.idled += 1


def layer(number: int, size: int = 1000, experts: int = 8) -> LayerFiles:
    """Gate and up in file 5, down in file 6, at offsets that are not multiples of a page."""
    begin = 96 + number * 3 * size * experts
    gate, up, down = (Weight(file, begin + n * size * experts, size, GgmlType.Q4_K) for n, file in enumerate((5, 5, 6)))
    return LayerFiles(number, gate, up, down, experts=experts, width=256, hidden=256)


def built(kernels: Kernels, layers: Any, room: int) -> tuple[PageLocked, list[Rings], list[str]]:
    there, said = [Rings(), Rings()], list[str]()
    return PageLocked(kernels, there, layers, room, said.append), there, said  # type: ignore[arg-type]


def runs(files: LayerFiles, experts: Sequence[int]) -> list[tuple[int, int, int]]:
    return [run[:3] for number in experts for run in files.runs(number)]


def test_the_rings_find_every_absent_expert() -> None:
    """On both rings, and no resident expert; each mapping begins on a page and ends with its weight."""
    kernels, files, absent = Kernels(), layer(3), [0, 1, 2, 5, 7]
    locked, rings, said = built(kernels, [(files, absent)], 3 * 5 * 1000)
    locked.first(0)
    assert [ring.order for ring in rings] == [runs(files, absent)] * 2
    assert kernels.asked == [(f, o // PAGE * PAGE, o % PAGE + s) for f, o, s in runs(files, absent)]
    assert any(offset % PAGE for _, offset, _ in rings[0].order)
    assert said == []


def test_every_layer_is_locked_once_the_measured_one_first() -> None:
    kernels, layers = Kernels(), [(layer(n), [n, n + 1]) for n in range(4)]
    locked, (ring, _), said = built(kernels, layers, 4 * 6000)
    locked.first(2)
    assert ring.order == runs(*layers[2])
    assert kernels.threads == {"MainThread"}
    locked.start()
    locked.join()
    assert ring.order == [run for n in (2, 0, 1, 3) for run in runs(*layers[n])]
    assert kernels.threads == {"MainThread", "page-lock"}
    (line,) = said
    assert line.startswith("experts: 0.0 GB are page-locked after ")
    assert line.endswith(" s: no thread reads them")


def test_an_expert_that_leaves_a_gpu_is_locked_and_one_that_comes_is_unlocked() -> None:
    kernels, layers = Kernels(), [(layer(0), [1, 2, 3]), (layer(1), [0, 2])]
    locked, (ring, other), _ = built(kernels, layers, 5 * 3000)
    locked.first(0)
    locked.start()
    locked.join()
    locked.swapped([Swap(from_layer=1, leaving=7, layer=0, expert=2), Swap(0, 5, 1, 0), Swap(1, 0, 0, 5)])
    there = runs(layers[0][0], [1, 3]) + runs(layers[1][0], [0, 2, 7])
    assert ring.runs == other.runs == {(file, offset): size for file, offset, size in there}
    assert len(kernels.locked) == len(there)
    assert ring.idled == other.idled == 1


def test_a_swap_before_the_thread_comes_there() -> None:
    """It locks no expert that has come to a GPU meanwhile, and none twice."""
    kernels, layers = Kernels(), [(layer(0), [1]), (layer(1), [0, 2])]
    locked, (ring, _), _ = built(kernels, layers, 3 * 3000)
    locked.first(0)
    locked.swapped([Swap(0, 4, 1, 0), Swap(1, 6, 0, 4), Swap(0, 4, 1, 6)])
    locked.start()
    locked.join()
    assert sorted(ring.runs) == sorted(run[:2] for run in runs(layers[0][0], [1, 4]) + runs(layers[1][0], [2]))
    assert len(kernels.locked) == 9


def test_swaps_are_followed_between_answers() -> None:
    moves, followed = [Swap(0, 4, 1, 0)], list[Any]()
    device: Any = SimpleNamespace(counted=dict, follow=lambda _counts: moves, placement={})
    locked: Any = SimpleNamespace(swapped=followed.append)
    installed = Installed({}, {}, [device], None, install.Options(), lambda _line: None, locked)
    installed._wanted = {0: [1]}
    assert installed.rest()
    assert followed == [moves]
    moves.clear()
    assert not installed.rest()
    assert len(followed) == 1


@pytest.mark.parametrize("room", [0, 1, 5999])
def test_without_room_for_all_nothing_is_locked(room: int) -> None:
    """The log says it, unless page-locking is switched off."""
    kernels = Kernels()
    size = 10**9
    locked, rings, said = built(kernels, [(layer(0, size), [0]), (layer(1, size), [4])], room * 10**6)
    locked.first(0)
    locked.start()
    locked.join()
    locked.swapped([Swap(0, 1, 1, 4)])
    assert kernels.asked == rings[0].order == []
    assert not locked.fits
    line = (
        f"experts: not page-locked: 6.0 GB may be streamed, and there is room for {room / 1000:.1f}; threads read them"
        " for each long prompt"
    )
    assert said == ([line] if room else [])


def test_more_mappings_than_a_process_may_have() -> None:
    """58 layers of 384 experts."""
    kernels = Kernels()
    locked, _, said = built(kernels, [(layer(n, experts=384), range(384)) for n in range(58)], 10**12)
    locked.first(3)
    locked.start()
    locked.join()
    assert kernels.asked == []
    assert said == [
        "experts: not page-locked: 66816 weights of experts are more than the 50000 that a process can map; threads"
        " read them for each long prompt"
    ]


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
    assert len(kernels.asked) == len(ring.order) == most
    assert ring.order == other.order
    assert not locked.fits
    assert said == [
        f"experts: {gb} GB are page-locked, threads read the others: CUDA cannot page-lock the model's file: out of"
        " memory"
    ]


@pytest.mark.parametrize("room", [0, 10**9])
def test_if_all_experts_are_resident_there_is_nothing_to_say(room: int) -> None:
    kernels = Kernels()
    locked, rings, said = built(kernels, [(layer(0), []), (layer(1), [])], room)
    locked.first(1)
    locked.start()
    locked.join()
    assert kernels.asked == rings[0].order == said == []


@pytest.mark.parametrize("room", [0, 1 << 40])
def test_the_start_locks_what_is_streamed(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """The absent experts of all layers: that of the middle before it is measured, the others after the threshold."""
    placed, ring = [placed_layer(n) for n in (3, 4, 5)], Rings()
    for one in placed:
        one.module.device_layer = SimpleNamespace(stream=lambda *_: None)
    held = {4: SimpleNamespace(addresses={1: (0, 0, 0)}), 5: SimpleNamespace(addresses={0: (0, 0, 0), 3: (0, 0, 0)})}
    here: Any = SimpleNamespace(layers=placed, ring=ring, products=None, held=held)
    given: list[Any] = []
    told: list[tuple[int, Sequence[int]]] = []

    class Told(PageLocked):
        def __init__(self, library: Any, rings: Any, layers: Any, room: int, say: Any) -> None:
            super().__init__(library, rings, layers, room, say)
            given.append(([(files.layer, list(experts)) for files, experts in layers], room))

        def _lock(self, layer: int, experts: Any) -> None:
            told.append((layer, list(experts)))

    def stand_in(_rings: Any, _layers: Any, absent: Any, **_more: Any) -> tuple[list[int], Rates]:
        told.append((0, list(absent)))
        return [1], Rates(0.14, 0.24)

    monkeypatch.setattr(install, "PageLocked", Told)
    monkeypatch.setattr(install, "_measure", stand_in)
    said: list[str] = []
    locked = install._streaming(SimpleNamespace(), {"cuda:0": here}, install.Options(page_lock=room), said.append)  # type: ignore[arg-type]
    assert locked is not None
    locked.join()
    absent = [(3, [0, 1, 2, 3]), (4, [0, 2, 3]), (5, [1, 2])]
    assert given == [(absent, room)]
    assert told == [absent[1], (0, [0, 2, 3]), *([absent[0], absent[2]] if room else [])]
    assert ("GB/s, page-locked)" in said[0]) is bool(room)
    assert ("GB/s, 2 readers)" in said[0]) is (room == 0)
