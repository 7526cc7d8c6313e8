"""Reading ahead on a real disk that is slow: it is busy nearly all of the time. `make check-host` runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from host_only import need

from throttled_disk import Throttled, lacks, throttled

SIZE, RATE = 150_000_000, 30_000_000
# Reads as the worker does, or as the loader alone: page by page through a mapping, with work of its own in between.
READ = """
import json, mmap, os, pathlib, sys, time
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
path, how = pathlib.Path(sys.argv[2]), sys.argv[3]
size = path.stat().st_size
began = time.monotonic()
if how == "ahead":
    from leviathan_engine.worker.read_ahead import PIECE, Piece, ReadAhead
    work = [Piece(path, at, min(PIECE, size - at)) for at in range(0, size, PIECE)]
    ahead = ReadAhead(work, 1 << 40, print)
    ahead.join()
    size = ahead.reading.done
else:
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    for at in range(0, size, 10_000_000):
        sum(data[at : at + 10_000_000 : 4096])
        time.sleep(0.3)
print(json.dumps([size, time.monotonic() - began]))
"""


@pytest.fixture
def disk(tmp_path: Path) -> object:
    need(not lacks(), lacks())
    with throttled(tmp_path, {"model.gguf": bytes(1 << 20) * (SIZE >> 20)}, RATE) as made:
        yield made


def busy(disk: Throttled, how: str) -> float:
    """The bytes that came, as a share of what the disk can give in that time."""
    argv = [sys.executable, "-c", READ, str(disk.processes), str(disk.folder / "model.gguf"), how]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=True)
    size, seconds = json.loads(done.stdout)
    assert size == SIZE >> 20 << 20
    return float(size / seconds / RATE)


def test_a_slow_disk_is_busy_nine_tenths_of_the_time(disk: Throttled) -> None:
    assert 0.9 <= busy(disk, "ahead") < 1.1


def test_the_loader_alone_leaves_it_idle(disk: Throttled) -> None:
    """The control: a reader that works in between is seen."""
    assert busy(disk, "alone") < 0.8
