"""Any bytes end in a header or in GgufError: no crash, no hang, no read outside the file, no memory far beyond it."""

import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leviathan_engine.errors import GgufError
from leviathan_engine.gguf import GgmlType, Tensor, ValueType, read_header
from leviathan_engine.gguf.write import write_gguf

# The deadline, in ms, finds what hangs; its clock also runs while other work has the CPU (2.6 s for 25 ms, seen).
QUICK = settings(max_examples=300, deadline=20_000, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("fuzz") / "good.gguf"
    write_gguf(
        path,
        {
            "general.architecture": (ValueType.STRING, "deepseek2"),
            "general.alignment": (ValueType.UINT32, 32),
            "split.no": (ValueType.UINT16, 0),
            "flag": (ValueType.BOOL, True),
            "tokens": (ValueType.ARRAY, ValueType.STRING, ["a", "bb", "ccc"]),
            "types": (ValueType.ARRAY, ValueType.INT32, [1, 2, 3]),
        },
        [("a", (64, 2), GgmlType.F32), ("b", (256, 2), GgmlType.Q6_K), ("c", (32,), GgmlType.Q8_0)],
        [bytes(512), bytes(420), bytes(34)],
    )
    return path.read_bytes()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Every pread of the code under test as (offset, bytes asked for); the real one does the reading."""
    seen: list[tuple[int, int]] = []
    real = os.pread

    def pread(fd: int, n: int, offset: int) -> bytes:
        seen.append((offset, n))
        return real(fd, n, offset)

    monkeypatch.setattr(os, "pread", pread)
    return seen


def _read(path: Path, raw: bytes, reads: list[tuple[int, int]]) -> bool:
    """Whether the bytes are a header; checks the reads and the memory either way."""
    path.write_bytes(raw)
    reads.clear()
    tracemalloc.start()
    line = ""
    tensors: tuple[Tensor, ...] = ()
    try:
        tensors = read_header(path).tensors
    except GgufError as err:
        line = err.line()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert all(t.offset + t.nbytes <= len(raw) for t in tensors)
    assert all(offset + n <= len(raw) for offset, n in reads)
    assert peak < 100 * len(raw) + (1 << 20)
    assert "\n" not in line
    assert len(line) < 700 + len(str(path))
    return not line


@QUICK
@given(data=st.data())
def test_damaged_bytes(tmp_path: Path, good: bytes, reads: list[tuple[int, int]], data: st.DataObject) -> None:
    raw = bytearray(good)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        patch = data.draw(st.one_of(st.binary(min_size=1, max_size=9), st.just(b"\xff" * 8), st.just(bytes(8))))
        raw[at : at + len(patch)] = patch
    _read(tmp_path / "f.gguf", bytes(raw), reads)


@QUICK
@given(raw=st.binary(max_size=600))
def test_any_bytes_after_the_magic(tmp_path: Path, reads: list[tuple[int, int]], raw: bytes) -> None:
    _read(tmp_path / "f.gguf", b"GGUF\x03\0\0\0" + raw, reads)


def test_every_truncation_of_the_data_and_header_is_refused(
    tmp_path: Path, good: bytes, reads: list[tuple[int, int]]
) -> None:
    path = tmp_path / "f.gguf"
    assert _read(path, good, reads)
    end = max(t.offset + t.nbytes for t in read_header(path).tensors)
    for length in [*range(0, end, 7), end - 1]:
        assert not _read(path, good[:length], reads), length
