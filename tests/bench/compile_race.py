"""Seconds that two nvcc take for the same source: `compile_race.py --ours DIR [--theirs DIR] --source DIR --out FILE`.

The source is KTransformers' Marlin with the instantiations that DeepSeek-V3 uses, for sm_90a alone, by both with the
same flags and headers. They take turns; other work on the machine only raises a figure, so the quicker one counts.
NVIDIA's is stopped when it has taken PATIENCE times as long as ours: then that is the least it needs.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import marlin_source

ROUNDS = 2
PATIENCE = 10
TORCH = Path("/usr/local/lib/python3.11/dist-packages/torch/include")
# As torch's build helper calls nvcc for an extension, and KTransformers' setup.py.
FLAGS = (
    *("-c", "-O3", "--use_fast_math", "-std=c++17", "--expt-relaxed-constexpr", "-Xcompiler", "-fPIC"),
    *("-D__CUDA_NO_HALF_OPERATORS__", "-D__CUDA_NO_HALF_CONVERSIONS__", "-D__CUDA_NO_BFLOAT16_CONVERSIONS__"),
    *("-D__CUDA_NO_HALF2_OPERATORS__", "-DTORCH_API_INCLUDE_EXTENSION_H"),
    "-gencode=arch=compute_90a,code=sm_90a",
)


class RaceError(Exception):
    """A compiler failed; the text has its last words."""


def command(toolkit: Path, source: Path, out: Path, more: Sequence[str] = ()) -> list[str]:
    """The argv of a toolkit's nvcc."""
    folders = (TORCH, TORCH / "torch/csrc/api/include", "/usr/include/python3.11")
    includes = [f"-I{folder}" for folder in folders]
    return [str(toolkit / "bin/nvcc"), *FLAGS, *includes, *more, str(source), "-o", str(out)]


def compiled(argv: Sequence[str], patience: float | None) -> float | None:
    """Seconds of one compilation; None when it was stopped after `patience` seconds.

    Raises:
        RaceError: the compiler failed.
    """
    start = time.monotonic()
    with tempfile.TemporaryFile("w+", errors="replace") as words:
        with subprocess.Popen(argv, stdout=words, stderr=words, start_new_session=True) as compiler:
            try:
                status = compiler.wait(timeout=patience)
            except subprocess.TimeoutExpired:
                os.killpg(compiler.pid, signal.SIGKILL)
                return None
        took = time.monotonic() - start
        if status:
            words.seek(0)
            raise RaceError(f"{argv[0]} ended with {status}: {' | '.join(words.read().strip().splitlines()[-5:])}")
    return took


def race(ours: Sequence[str], theirs: Sequence[str] | None, rounds: int = ROUNDS) -> dict[str, object]:
    """Seconds of each round of both, the order turning around; `stopped` holds the patience where theirs ran out of it.

    Args:
        ours: argv of ours.
        theirs: of NVIDIA's; None where there is none.
        rounds: how often; one that ran out of patience is not tried again.
    """
    mine: list[float] = []
    other: list[float] = []
    stopped: float | None = None
    for turn in range(rounds):
        for who in ("ours", "theirs") if turn % 2 == 0 else ("theirs", "ours"):
            if who == "ours":
                mine.append(compiled(ours, None) or 0.0)
            elif theirs is not None and stopped is None:
                patience = min(mine) * PATIENCE
                took = compiled(theirs, patience)
                stopped = patience if took is None else None
                other += [took] if took is not None else []
    return {"ours": mine, "theirs": other, "stopped": stopped}


def version(toolkit: Path) -> str:
    """A compiler's own word on its version, such as "13.0.88"."""
    done = subprocess.run([str(toolkit / "bin/nvcc"), "--version"], capture_output=True, text=True, check=True)
    return next((word[1:] for word in done.stdout.split() if word.startswith("V") and word[1:2].isdigit()), "?")


def measure(source: Path, ours: Path, theirs: Path | None) -> Mapping[str, object]:
    """Copies the source, thins Marlin out, and has both compile it."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "cuda"
        shutil.copytree(source, work)
        marlin = work / "gptq_marlin" / "gptq_marlin.cu"
        text = marlin_source.needed(marlin.read_text(encoding="utf-8"))
        marlin = marlin.with_name("marlin.cu")
        marlin.parent.chmod(0o755)
        marlin.write_text(text, encoding="utf-8")
        # Of cuSPARSE and others, which torch's headers include, NVIDIA's wheels of nvcc bring none: ours come last.
        more = ["-ccbin", "g++-12", "-Xcompiler", f"-idirafter,{ours / 'include'}"]
        argv = command(theirs, marlin, Path(folder) / "theirs.o", more) if theirs else None
        found = race(command(ours, marlin, Path(folder) / "ours.o"), argv)
    return found | {"version": version(theirs) if theirs else None}


def main() -> int:
    """Writes the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", type=Path, required=True, metavar="DIR")
    parser.add_argument("--theirs", type=Path, metavar="DIR")
    parser.add_argument("--source", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    args = parser.parse_args()
    if args.theirs and not (args.theirs / "bin/nvcc").is_file():
        sys.stderr.write(f"compile_race.py: no {args.theirs}/bin/nvcc in the sandbox: is this user one Nix trusts?\n")
        return 1
    try:
        args.out.write_text(json.dumps(measure(args.source, args.ours, args.theirs)), encoding="utf-8")
    except RaceError as problem:
        sys.stderr.write(f"compile_race.py: {problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
