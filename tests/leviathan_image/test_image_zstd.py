"""zstd as a pipe: the same bytes for every number of threads, and every failure in one line."""

import hashlib
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from leviathan_image.errors import ImageError, ToolError
from leviathan_image.zstdpipe import Compression, Compressor, decompressed

pytestmark = pytest.mark.skipif(shutil.which("zstd") is None, reason="no zstd here")


def _body(size: int) -> bytes:
    """Text-like bytes that compress, and repeat far apart."""
    words = [random.Random(number).randbytes(11) for number in range(2000)]
    order = random.Random(1)
    block = b"".join(order.choice(words) for _ in range(100_000))
    return (block * (size // len(block) + 1))[:size]


def _compress(body: bytes, compression: Compression, chunk: int = 1 << 20) -> tuple[bytes, Compressor]:
    out = io.BytesIO()
    compressor = Compressor(out, compression)
    for start in range(0, len(body), chunk):
        compressor.write(body[start : start + chunk])
    compressor.finish()
    return out.getvalue(), compressor


@pytest.mark.parametrize("long", [0, 27])
def test_threads_and_chunks_do_not_change_the_bytes(long: int) -> None:
    body = _body(40 << 20)  # several of zstd's jobs, also with a long window
    first, _ = _compress(body, Compression(3, long, 1))
    others = [
        _compress(body, Compression(3, long, threads), chunk)[0] for threads, chunk in ((0, 1 << 20), (5, 77_777))
    ]
    assert all(other == first for other in others)
    assert len(first) < len(body) // 2


def test_both_sides_are_hashed_and_measured() -> None:
    body = _body(3 << 20)
    blob, compressor = _compress(body, Compression(3))
    assert (compressor.raw.hexdigest(), compressor.raw_size) == (hashlib.sha256(body).hexdigest(), len(body))
    assert (compressor.blob.hexdigest(), compressor.blob_size) == (hashlib.sha256(blob).hexdigest(), len(blob))


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    body = _body(3 << 20)
    file = tmp_path / "blob"
    file.write_bytes(_compress(body, Compression(3, 27))[0])
    link = tmp_path / "link"
    link.symlink_to(file)
    with decompressed(link) as stream:
        assert stream.readall() == body  # type: ignore[attr-defined]


def test_a_reader_may_leave_early(tmp_path: Path) -> None:
    file = tmp_path / "blob"
    file.write_bytes(_compress(_body(8 << 20), Compression(3))[0])
    with decompressed(file) as stream:
        assert len(stream.read(10)) == 10


@pytest.mark.parametrize("damage", [lambda blob: blob[:-20], lambda blob: b"not zstd at all"])
def test_a_damaged_file_is_an_error(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    file = tmp_path / "blob"
    file.write_bytes(damage(_compress(_body(1 << 20), Compression(3))[0]))

    def drain() -> None:
        with decompressed(file) as stream:
            while stream.read(1 << 20):
                pass

    with pytest.raises(ToolError, match="is not a complete zstd file"):
        drain()


STOPPED = """
import sys
from pathlib import Path
from leviathan_image.zstdpipe import Compression, Compressor
with Path(sys.argv[1]).open("wb") as out:
    compressor = Compressor(out, Compression(1))
    for _ in range(40):
        compressor.write(bytes(range(256)) * (4 << 12))
    compressor.finish()
"""


def test_a_build_that_is_stopped_and_goes_on_loses_nothing(tmp_path: Path) -> None:
    file = tmp_path / "layer.zst"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", STOPPED, str(file)], env=environment) as child:
        while child.poll() is None:
            child.send_signal(signal.SIGSTOP)
            time.sleep(0.001)
            child.send_signal(signal.SIGCONT)
            time.sleep(0.004)
    assert child.returncode == 0
    with decompressed(file) as stream:
        assert sum(len(piece) for piece in iter(lambda: stream.read(1 << 20), b"")) == 40 * (4 << 20)


def test_a_full_disk_is_told_as_such() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        compressor = Compressor(full, Compression(3))

        def fill() -> None:
            for _ in range(64):
                compressor.write(random.randbytes(1 << 20))
            compressor.finish()

        with pytest.raises(OSError, match="No space left"):
            fill()
        compressor.abort()


def test_no_zstd_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="the program zstd is not on PATH: install"):
        Compressor(io.BytesIO(), Compression(3))


@pytest.mark.parametrize(("level", "long", "threads"), [(0, 0, 0), (20, 0, 0), (3, 28, 0), (3, 9, 0), (3, 0, -1)])
def test_settings_out_of_range_are_refused(level: int, long: int, threads: int) -> None:
    with pytest.raises(ImageError, match="name"):
        Compression(level, long, threads)


def test_the_command_line() -> None:
    assert Compression(9).argv() == ["zstd", "-q", "-c", "-9", "-T0"]
    assert Compression(12, 27, 4).argv() == ["zstd", "-q", "-c", "-12", "--long=27", "-T4"]
