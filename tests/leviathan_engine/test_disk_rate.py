"""The disk's rate from a sample of the model's files."""

import itertools
import os
import time
from pathlib import Path

import pytest

from leviathan_engine.errors import GgufError
from leviathan_engine.machine.disk_rate import READ_BYTES, READS, SECONDS, measure

MIB = 1 << 20


def files(folder: Path, *sizes: int) -> list[tuple[Path, int]]:
    out = []
    for number, size in enumerate(sizes):
        path = folder / f"part-{number}.gguf"
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        out.append((path, size))
    return out


def test_the_rate_of_real_files_in_under_a_second(tmp_path: Path) -> None:
    parts = files(tmp_path, 50 * MIB, 3, 30 * MIB)
    began = time.perf_counter()
    rate = measure(parts)
    assert time.perf_counter() - began < 1.0
    assert rate is not None
    assert 1e6 < rate < 1e12


def test_bytes_over_time_by_a_clock_of_its_own(tmp_path: Path) -> None:
    """Every look at the clock is 1 ms after the last, so each read took 1 ms."""
    ticks = itertools.count()
    rate = measure(files(tmp_path, READS * READ_BYTES), clock=lambda: next(ticks) * 1e-3)
    assert rate == pytest.approx(READ_BYTES / 1e-3)
    assert next(ticks) == READS + 1


def test_a_slow_disk_is_left_after_its_time(tmp_path: Path) -> None:
    """At 0.25 s a read the third one ends after SECONDS: 64 would be 16 s."""
    ticks = itertools.count()
    rate = measure(files(tmp_path, READS * READ_BYTES), clock=lambda: next(ticks) * 0.25)
    assert rate == pytest.approx(READ_BYTES / 0.25)
    assert next(ticks) == 1 + 3
    assert SECONDS + 0.25 < 1.0


def test_files_smaller_than_the_sample_say_nothing(tmp_path: Path) -> None:
    size = READS * READ_BYTES
    assert measure(files(tmp_path, size // 2, size // 2 - 1)) is None
    assert measure([]) is None
    assert measure(files(tmp_path, size // 2, size // 2)) is not None


def test_the_places_lie_in_every_file(tmp_path: Path) -> None:
    """A file that is missing is found although it is an eighth of the whole: each 64th part has its read."""
    parts = files(tmp_path, *[READS * READ_BYTES // 8] * 8)
    assert measure(parts, seconds=60) is not None
    for path, size in parts:
        content = path.rename(tmp_path / "away")
        with pytest.raises(GgufError, match=rf"cannot read .*{path.name}: No such file"):
            measure(parts, seconds=60)
        content.rename(path)
        assert path.stat().st_size == size
