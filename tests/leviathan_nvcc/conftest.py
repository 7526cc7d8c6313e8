"""A toolkit folder and a clang of the right names: enough for everything that runs no compiler."""

from pathlib import Path

import pytest

from leviathan_nvcc.toolchain import Toolchain

MARKS = ("bin/ptxas", "nvvm/libdevice/libdevice.10.bc", "include/cuda.h", "lib/libnvfatbin.so.12")


@pytest.fixture
def tools() -> Toolchain:
    """Parts with short fixed paths, for whole argument lists."""
    return Toolchain(Path("/cuda"), "clang++-19", Path("/headers"))


@pytest.fixture
def toolkit(tmp_path: Path) -> Path:
    """A folder that looks like a toolkit; its files are empty."""
    root = tmp_path / "cuda"
    for mark in MARKS:
        (root / mark).parent.mkdir(parents=True, exist_ok=True)
        (root / mark).touch()
    return root
