"""Tests that really compile: they need the toolkit, clang 19 and cuobjdump, which no wheel of the tool brings.

    LEVIATHAN_CUDA_HOME=TOOLKIT LEVIATHAN_CUOBJDUMP=FILE python3 -m pytest tests/toolkit

Without the two variables nothing here is collected, and pytest's last lines say so.
"""

import os
from pathlib import Path

import pytest
from toolkit_bench import KERNELS, Bench

NEEDED = ("LEVIATHAN_CUDA_HOME", "LEVIATHAN_CUOBJDUMP")
MISSING = [name for name in NEEDED if not os.environ.get(name)]

if MISSING:
    collect_ignore_glob = ["test_*.py"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if MISSING:
        line = f"tests/toolkit: not collected, {' and '.join(MISSING)} not set (the toolkit's folder, cuobjdump's file)"
        terminalreporter.write_line(line)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    for file in sorted(KERNELS.iterdir()):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    nvcc = Path(os.environ["LEVIATHAN_CUDA_HOME"]) / "bin" / "nvcc"
    return Bench(tmp_path, nvcc, os.environ["LEVIATHAN_CUOBJDUMP"])
