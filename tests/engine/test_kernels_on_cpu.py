"""What of the operators' C++ runs without a GPU: the blocks' arithmetic, and the ring over a stand-in for CUDA.

Needs a C++ compiler and the sources: this repository's, or those in the folder LEVIATHAN_KERNELS.
"""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent / "kernels_on_cpu"
IN_REPOSITORY = Path(__file__).resolve().parents[2] / "tools" / "leviathan_operators" / "kernels"
KERNELS = Path(os.environ.get("LEVIATHAN_KERNELS", IN_REPOSITORY))
COMPILER = shutil.which("clang++-19") or shutil.which("g++")

pytestmark = pytest.mark.skipif(
    not (KERNELS.is_dir() and COMPILER), reason="needs the kernels' sources and a C++ compiler"
)


def compiled(out: Path, *words: str) -> Path:
    argv = [str(COMPILER), "-std=c++17", "-O2", "-ffp-contract=off", "-pthread", "-o", str(out), *words]
    subprocess.run(argv, check=True, timeout=120)
    return out


def ring(folder: Path, staging: Path) -> subprocess.CompletedProcess[str]:
    """The ring's source at `staging` through every scene of staging_run.cpp."""
    sources = [str(staging), str(KERNELS / "page_locked.cpp"), str(HERE / "staging_run.cpp")]
    program = compiled(folder / "staging_run", f"-I{HERE / 'include'}", *sources)
    return subprocess.run([str(program), str(folder)], capture_output=True, text=True, timeout=240, check=False)


def noticed(folder: Path, broken: Path) -> bool:
    """Whether a broken source gives other bytes, in one of five runs: the threads' timing may hide a lost wait."""
    return any(ring(folder, broken).returncode == 1 for _ in range(5))


def test_the_ring_delivers_every_byte_in_order(tmp_path: Path) -> None:
    done = ring(tmp_path, KERNELS / "staging.cpp")
    assert done.returncode == 0, done.stdout[-2000:]


def test_an_item_left_out_that_does_not_wait_for_its_slots_last_one_is_seen(tmp_path: Path) -> None:
    """A control: its slot's next item is copied while the last one still is."""
    text = (KERNELS / "staging.cpp").read_text(encoding="utf-8")
    right = "(queued_[last] && (skipped_[item] || released_ > last))"
    assert right in text
    broken = tmp_path / "staging.cpp"
    broken.write_text(text.replace(right, "skipped_[item] || (queued_[last] && released_ > last)"), encoding="utf-8")
    assert noticed(tmp_path, broken)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("part->second.first >= run.bytes", "true"),  # a run longer than what is locked
        ("page_locked_.erase({file, offset})", "(void)0"),  # an entry that should be gone
        ("page_locked_.find({run.file, run.offset})", "page_locked_.begin()"),
    ],
)
def test_other_bytes_from_page_locked_memory_are_seen(tmp_path: Path, right: str, wrong: str) -> None:
    text = (KERNELS / "staging.cpp").read_text(encoding="utf-8")
    assert right in text
    broken = tmp_path / "staging.cpp"
    broken.write_text(text.replace(right, wrong), encoding="utf-8")
    assert ring(tmp_path, broken).returncode == 1


@pytest.mark.parametrize(
    "call",
    [
        "cudaStreamWaitEvent(reader->copies, computed_[slot], 0)",
        "cudaStreamWaitEvent(reader->copies, copied_[slot], 0)",
        "cudaStreamWaitEvent(stream, copied_[slot], 0)",
        "cudaEventSynchronize(reader->free[turn])",
    ],
)
def test_a_missing_wait_is_seen(tmp_path: Path, call: str) -> None:
    """The control: the stand-in is slow enough for a lost wait to give other bytes."""
    text = (KERNELS / "staging.cpp").read_text(encoding="utf-8")
    assert call in text
    broken = tmp_path / "staging.cpp"
    broken.write_text(text.replace(call, "cudaSuccess"), encoding="utf-8")
    assert noticed(tmp_path, broken)


def test_blocks_are_the_readers_bit_by_bit(tmp_path: Path) -> None:
    """All types, blocks of random bytes: subnormal, infinite and undefined scales are among them."""
    from leviathan_engine.gguf.quants import dequantize  # noqa: PLC0415  (numpy is not where the other tests run)
    from leviathan_engine.gguf.types import GgmlType  # noqa: PLC0415

    library = ctypes.CDLL(
        str(compiled(tmp_path / "blocks.so", "-shared", "-fPIC", f"-I{KERNELS}", str(HERE / "blocks.cpp")))
    )
    random = np.random.default_rng(0)
    for kind in map(GgmlType, (8, 10, 11, 12, 13, 14, 23)):
        raw = random.integers(0, 256, (3000, kind.size), dtype=np.uint8)
        out = np.empty(3000 * kind.block, np.float32)
        code = library.dequantise(
            kind, ctypes.c_void_p(raw.ctypes.data), ctypes.c_void_p(out.ctypes.data), ctypes.c_long(3000)
        )
        with np.errstate(invalid="ignore", over="ignore"):
            wanted = dequantize(raw.reshape(-1), kind)
        assert code == 0
        assert np.array_equal(out, wanted, equal_nan=True), kind.name
    assert library.dequantise(2, None, None, ctypes.c_long(0)) == 1
