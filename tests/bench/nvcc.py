"""Our nvcc, the whole library for all architectures, beside NVIDIA's, one source file of it for one architecture."""

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from . import nix
from .errors import BenchError, Missing
from .table import Line, Row

WHAT = "compile KTransformersOps: ours whole, 3 architectures; theirs Marlin alone for sm_90a"


def marlin(toolkit: Path, named: dict[str, str]) -> list[str]:
    """The argv of NVIDIA's nvcc for Marlin, without -o; `named` is label → derivation."""
    inputs = nix.nix("-q", "--references", named["ktransformers-ops"], program="nix-store").split()
    sources = nix.output_of(next(drv for drv in inputs if nix.label(drv) == "ktransformers-source"))
    libraries = nix.output_of(named["cuda-toolkit"]) / "include"  # cuSPARSE's headers and others that it may lack
    headers = nix.output_of(named["python-headers"]) / "usr/local/lib/python3.11/dist-packages/torch/include"
    python = nix.output_of(named["rootfs-build"]) / "usr/include/python3.11"
    argv = [str(toolkit / "bin/nvcc"), "-c", "-O3", "--use_fast_math", "-std=c++17", "-Xcompiler", "-fPIC"]
    argv += ["--expt-relaxed-constexpr", "-Xcompiler", f"-idirafter,{libraries}"]
    argv += ["-gencode=arch=compute_90a,code=sm_90a"]
    argv += [f"-I{path}" for path in (headers, headers / "torch/csrc/api/include", python)]
    return [*argv, str(sources / "ktransformers/ktransformers_ext/cuda/gptq_marlin/gptq_marlin.cu")]


def measure(toolkit: Path) -> list[Line]:
    """The row of this part; nvcc is stopped when it has taken as long as ours, which is then the least it needs."""
    if not (toolkit / "bin/nvcc").is_file():
        raise Missing(f"{toolkit} has no bin/nvcc: name a CUDA toolkit's folder with --nvcc")
    named = {nix.label(drv): drv for drv in nix.behind_image()}
    nix.output_of(named["ktransformers-ops"])
    argv = marlin(toolkit, named)
    start = time.monotonic()
    nix.nix("--realise", "--check", named["ktransformers-ops"], program="nix-store")
    ours = time.monotonic() - start
    with tempfile.TemporaryDirectory() as work:
        start = time.monotonic()
        with subprocess.Popen([*argv, "-o", f"{work}/marlin.o"], start_new_session=True) as compiler:
            try:
                status = compiler.wait(timeout=ours)
            except subprocess.TimeoutExpired:
                os.killpg(compiler.pid, signal.SIGKILL)
                return [Row(WHAT, ours, "s", ours, "nvcc, stopped, not done", most_ratio=1)]
        if status:
            raise BenchError(f"nvcc ended with {status}; its words are above: is {toolkit} a whole CUDA toolkit?")
        return [Row(WHAT, ours, "s", time.monotonic() - start, "nvcc", most_ratio=1)]
