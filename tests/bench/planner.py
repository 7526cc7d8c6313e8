"""The planner's command on the whole header of DeepSeek-V3, vocabulary and all: from its start to the printed plan."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from leviathan_engine.gguf import ValueType
from leviathan_engine.gguf.write import Typed, write_gguf
from leviathan_engine.model.reference import DEEPSEEK_V3, q4_k_m

from .errors import BenchError, Missing
from .nix import ROOT
from .table import Line, Row

ROUNDS = 5
LIMIT_S = 1.0
KINDS = {str: ValueType.STRING, bool: ValueType.BOOL, int: ValueType.UINT32, float: ValueType.FLOAT32}
MERGES = 127741
# The runbook's machine: 96 and 32 GB of GPU memory, 384 GB of RAM.
MACHINE = ("--gpus", "102642,34190", "--ram", "384", "--gpu_split", "90000,30000")


def write_header(path: Path) -> None:
    """A file with DeepSeek-V3's header, and 404 GB of holes in place of its weights.

    Raises:
        Missing: the file system takes no such file.
    """
    model = q4_k_m()
    tokens = [f"token{n:06d}" for n in range(DEEPSEEK_V3.vocab)]
    meta: dict[str, Typed] = {key: (KINDS[type(value)], value) for key, value in model.metadata.items()}
    meta |= {
        "tokenizer.ggml.tokens": (ValueType.ARRAY, ValueType.STRING, tokens),
        "tokenizer.ggml.token_type": (ValueType.ARRAY, ValueType.INT32, [1] * len(tokens)),
        "tokenizer.ggml.merges": (ValueType.ARRAY, ValueType.STRING, [f"tok en{n:06d}" for n in range(MERGES)]),
    }
    tensors = list(model.tensors.values())
    try:
        write_gguf(path, meta, [(t.name, t.shape, t.type) for t in tensors], (b"" for _ in tensors))
    except ValueError as refused:  # it wants the tensors' bytes, and has written the header
        if "0 bytes" not in str(refused):
            raise
    try:
        os.truncate(path, path.stat().st_size + sum(-(-t.nbytes // 32) * 32 for t in tensors))
    except OSError as refused:
        raise Missing(f"the file system of {path.parent} takes no file of 404 GB with holes: {refused}") from refused


def plan(header: Path) -> float:
    """Seconds of one call of the command.

    Raises:
        BenchError: it failed, or did not plan DeepSeek-V3's 61 layers.
    """
    argv = [sys.executable, "-m", "leviathan_engine.plan", str(header), *MACHINE]
    environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT / "tools")}
    start = time.monotonic()
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False, timeout=60)
    took = time.monotonic() - start
    if done.returncode or "61 layers" not in done.stdout:
        raise BenchError(f"the planner ended with {done.returncode}:\n{done.stderr.strip() or done.stdout.strip()}")
    return took


def measure() -> list[Line]:
    """The row of this part: the quickest call, since other work on the machine only raises it."""
    with tempfile.TemporaryDirectory(prefix="bench-plan-") as folder:
        header = Path(folder) / "DeepSeek-V3-Q4_K_M.gguf"
        write_header(header)
        times = [plan(header) for _ in range(ROUNDS)]
    detail = ", ".join(f"{each:.2f}" for each in times)
    return [Row("planner, its command on a 671B header", min(times), "s", most=LIMIT_S, detail=detail)]
