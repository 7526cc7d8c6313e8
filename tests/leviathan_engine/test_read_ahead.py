"""Files are read in the order of use by several threads: what is read, how busy the disk is, and a disk that fails."""

import errno
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from leviathan_engine.gguf import GgmlType, Model, Part, Tensor
from leviathan_engine.worker.load_progress import LoadProgress
from leviathan_engine.worker.read_ahead import SPARE, Piece, ReadAhead, Reading, pieces, pread, room


def never(line: str) -> None:
    raise AssertionError(line)


def two_files(folder: Path) -> Model:
    """Tensors whose order in the files is not that of use."""
    parts = tuple(Part(folder / name, 1 << 20, 3, 32, 0) for name in ("a.gguf", "b.gguf"))
    table = [
        ("output.weight", 0, 0),
        ("blk.10.attn_norm.weight", 1, 4096),
        ("blk.2.ffn_up_exps.weight", 0, 8192),
        ("token_embd.weight", 1, 0),
        ("blk.2.attn_norm.weight", 0, 4096),
    ]
    return Model(parts, {}, {n: Tensor(n, (256,), GgmlType.F32, place, part) for n, part, place in table})


def test_the_order_is_that_of_the_loader(tmp_path: Path) -> None:
    found = [(piece.path.name, piece.offset, piece.size) for piece in pieces(two_files(tmp_path), 600)]
    starts = [("b.gguf", 0), ("a.gguf", 4096), ("a.gguf", 8192), ("b.gguf", 4096), ("a.gguf", 0)]
    assert found == [(name, at + more, size) for name, at in starts for more, size in ((0, 600), (600, 424))]


def test_every_byte_is_read_once(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(os.urandom(1 << 20))
    seen: list[tuple[int, int]] = []
    lock = threading.Lock()

    def read(descriptor: int, buffer: memoryview, offset: int) -> int:
        count = pread(descriptor, buffer[:1000], offset)
        assert bytes(buffer[:count]) == file.read_bytes()[offset : offset + count]
        with lock:
            seen.append((offset, count))
        return count

    work = [Piece(file, start, 1 << 16) for start in range(0, 1 << 20, 1 << 16)]
    ahead = ReadAhead(work, 1 << 30, never, threads=3, read=read)
    ahead.join()
    assert (ahead.reading.done, ahead.reading.total) == (1 << 20, 1 << 20)
    places = sorted(seen)
    assert [start for start, _ in places[1:]] == [start + count for start, count in places[:-1]]
    assert sum(count for _, count in places) == 1 << 20


def test_a_slow_disk_is_busy_all_the_time(tmp_path: Path) -> None:
    """A disk of one arm that takes 5 ms a read: it rests for less than a tenth of the time."""
    file = tmp_path / "x"
    file.write_bytes(bytes(60 << 10))
    arm, busy = threading.Lock(), [0.0]

    def read(descriptor: int, buffer: memoryview, offset: int) -> int:
        with arm:
            began = time.perf_counter()
            time.sleep(0.005)
            count = pread(descriptor, buffer[:1024], offset)
            busy[0] += time.perf_counter() - began
        return count

    began = time.perf_counter()
    ReadAhead([Piece(file, at, 2048) for at in range(0, 60 << 10, 2048)], 1 << 30, never, 4, read).join()
    assert busy[0] > 0.9 * (time.perf_counter() - began)


def test_no_more_than_the_room(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(bytes(10_000))
    work = [Piece(file, at, 1000) for at in range(0, 10_000, 1000)]
    for limit, wanted in ((0, 0), (2500, 2000), (10_000, 10_000)):
        ahead = ReadAhead(work, limit, never, threads=2)
        ahead.join()
        assert (ahead.reading.done, ahead.reading.total) == (wanted, wanted)


def test_the_room(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       400000000 kB\nMemAvailable:   100000000 kB\n")
    here = 100_000_000 << 10
    assert room(None, None, meminfo) == here - SPARE
    assert room(50 << 30, 10 << 30, meminfo) == (40 << 30) - SPARE
    assert room(50 << 30, None, meminfo) == (50 << 30) - SPARE
    assert room(1 << 30, 0, meminfo) == 0
    assert room(None, None, tmp_path / "none") == 0


def failing(descriptor: int, buffer: memoryview, offset: int) -> int:
    if offset >= 2000:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    return pread(descriptor, buffer, offset)


def test_a_disk_that_fails_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "x.gguf"
    file.write_bytes(bytes(10_000))
    said: list[str] = []
    work = [Piece(file, at, 1000) for at in range(0, 10_000, 1000)]
    ReadAhead(work, 1 << 30, said.append, threads=1, read=failing).join()
    assert said == [f"cannot read {file}: EIO, Input/output error; check the disk with dmesg on the node"]


def test_a_file_that_is_gone_or_cut(tmp_path: Path) -> None:
    said: list[str] = []
    ReadAhead([Piece(tmp_path / "none", 0, 10)], 100, said.append, threads=1).join()
    (tmp_path / "short").write_bytes(b"12345")
    ReadAhead([Piece(tmp_path / "short", 0, 10)], 100, said.append, threads=1).join()
    assert said[0].startswith(f"cannot open {tmp_path / 'none'}: ENOENT")
    assert said[1].startswith(f"cannot read {tmp_path / 'short'}: ENODATA, the file ends at byte 5; ")


def test_it_stops(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(bytes(1000))
    begun = threading.Event()

    def read(descriptor: int, buffer: memoryview, offset: int) -> int:
        begun.set()
        time.sleep(0.01)
        return pread(descriptor, buffer[:10], offset)

    ahead = ReadAhead([Piece(file, 0, 1000)] * 10, 1 << 30, never, threads=1, read=read)
    assert begun.wait(10)
    ahead.stop()
    ahead.join()
    assert ahead.reading.done < 1000


@pytest.mark.parametrize(
    ("done", "seconds", "words"),
    [
        (1e9, 4.0, ""),
        (40e9, 10.0, ""),
        (2e9, 10.0, "the model's disk reads 200 MB/s: 2 of 400 GB read, 33 minutes left"),
        (0, 10.0, "the model's disk reads 0 MB/s: 0 of 400 GB read, remaining time unknown"),
        (400e9, 2000.0, ""),
    ],
)
def test_a_word_about_a_slow_disk(done: float, seconds: float, words: str) -> None:
    assert Reading(int(done), int(400e9), seconds).remark() == words


def test_the_front_hears_while_the_loader_waits() -> None:
    sent: list[dict[str, Any]] = []
    with LoadProgress(sent.append, lambda: Reading(5, 9, 1.0), seconds=0.01) as progress:
        progress.loaded(2, 4)
        deadline = time.monotonic() + 10
        while len(sent) < 3 and time.monotonic() < deadline:
            time.sleep(0.005)
    count = len(sent)
    assert count >= 3
    assert sent[-1] == {"kind": "progress", "layers": 2, "bytes": 4, "read": 5, "read_total": 9}
    time.sleep(0.05)
    assert len(sent) == count  # nothing after the load


def test_a_slow_disk_is_the_phases_detail(capsys: pytest.CaptureFixture[str]) -> None:
    sent: list[dict[str, Any]] = []
    with LoadProgress(sent.append, lambda: Reading(int(2e9), int(400e9), 10.0), seconds=0.01):
        deadline = time.monotonic() + 10
        while len(sent) < 6 and time.monotonic() < deadline:
            time.sleep(0.005)
    details = {message.get("detail", "") for message in sent if message["kind"] == "phase"}
    assert details == {"the model's disk reads 200 MB/s: 2 of 400 GB read, 33 minutes left"}
    assert capsys.readouterr().err.count("the model's disk reads 200 MB/s") == 1
