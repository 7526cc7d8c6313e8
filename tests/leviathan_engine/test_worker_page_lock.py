"""How much main memory the worker lets experts lock."""

from pathlib import Path

import pytest

from leviathan_engine.errors import EngineError
from leviathan_engine.worker.page_lock import SPARE, room

GIB = 1 << 30


def report(folder: Path, available: int) -> Path:
    """A kernel's report with `available` bytes, between other lines."""
    path = folder / "meminfo"
    lines = ["MemTotal:       999999999 kB", f"MemAvailable: {available >> 10} kB", "Cached:   12 kB", ""]
    path.write_text("\n".join(lines), encoding="ascii")
    return path


@pytest.mark.parametrize(
    ("available", "limit", "kv_ram", "wanted"),
    [
        (100 * GIB, None, 0, 84 * GIB),
        (100 * GIB, 90 * GIB, 0, 74 * GIB),  # the smaller of both
        (90 * GIB, 100 * GIB, 0, 74 * GIB),
        (100 * GIB, None, 4 * GIB, 80 * GIB),
        (160 * GIB, None, 0, 144 * GIB),  # where a tenth is as much as SPARE
        (500 * GIB, None, 0, 450 * GIB),
        (900 * GIB, 500 * GIB, 50 * GIB, 400 * GIB),  # a tenth of the limit
        (16 * GIB, None, 0, 0),
        (100 * GIB, 8 * GIB, 0, 0),
        (100 * GIB, None, 90 * GIB, 0),
    ],
)
def test_the_room(tmp_path: Path, available: int, limit: int | None, kv_ram: int, wanted: int) -> None:
    assert SPARE == 16 * GIB
    assert room({}, kv_ram, limit, report(tmp_path, available)) == wanted


@pytest.mark.parametrize(("word", "wanted"), [("0", 0), ("1", 84 * GIB), ("", 84 * GIB)])
def test_the_variable(tmp_path: Path, word: str, wanted: int) -> None:
    assert room({"LEVIATHAN_PAGE_LOCK": word}, 0, None, report(tmp_path, 100 * GIB)) == wanted


@pytest.mark.parametrize("word", ["2", "yes", " 1", "-1"])
def test_other_words_are_refused(tmp_path: Path, word: str) -> None:
    """Also where nothing could be locked."""
    for path in (report(tmp_path, 100 * GIB), tmp_path / "none"):
        with pytest.raises(EngineError, match="LEVIATHAN_PAGE_LOCK: expected 0 or 1, got "):
            room({"LEVIATHAN_PAGE_LOCK": word}, 0, None, path)


@pytest.mark.parametrize(
    "content",
    [None, b"", b"MemTotal: 100 kB\n", b"MemAvailable:\n", b"MemAvailable: much kB\n", b"MemAvailable: \xff kB\n"],
)
def test_without_a_report_nothing_is_locked(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "meminfo"
    if content is not None:
        path.write_bytes(content)
    assert room({}, 0, 100 * GIB, path) == 0


def test_this_machines_report_can_be_read() -> None:
    """Within 2 GiB, as others use memory meanwhile; without a limit."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    available = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    expected = max(0, available - max(16 * GIB, available // 10))
    assert abs(room({}, 0, None) - expected) < 2 * GIB
