"""Builds the engine's CUDA sources with the nvcc and the torch that are there: `nvcc_build.py SOURCES OUT`.

SOURCES is the folder ktransformers_ext/cuda of the unpacked sdist; of Marlin only what DeepSeek-V3's layers use is
instantiated (marlin_source.py). The result, KTransformersOps in OUT, is what `kernels.py --module OUT` takes. Seconds,
compiler, architecture and CPU go to stdout as JSON.
"""

import json
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

import marlin_source
from torch.utils import cpp_extension

ARCH = "-gencode=arch=compute_90a,code=sm_90a"


def build(sources: Path, out: Path) -> None:
    """Copies the sources, drops the other instantiations, compiles for sm_90a."""
    work = out / "sources"
    shutil.copytree(sources, work, dirs_exist_ok=True)
    marlin = work / "gptq_marlin" / "gptq_marlin.cu"
    marlin.chmod(0o644)
    marlin.write_text(marlin_source.needed(marlin.read_text(encoding="utf-8")), encoding="utf-8")
    cpp_extension.load(
        name="KTransformersOps",
        sources=[str(work / name) for name in ("custom_gguf/dequant.cu", "binding.cpp", "gptq_marlin/gptq_marlin.cu")],
        extra_cflags=["-O3"],
        extra_cuda_cflags=["-O3", "--use_fast_math", ARCH],
        extra_include_paths=[str(work)],
        build_directory=str(out),
        is_python_module=True,
    )


def main(sources: Path, out: Path) -> None:
    """Builds, and prints how long it took and with what."""
    began = time.monotonic()
    build(sources, out)
    seconds = time.monotonic() - began
    nvcc = subprocess.run(
        [f"{cpp_extension.CUDA_HOME}/bin/nvcc", "--version"], capture_output=True, text=True, check=True
    )
    cpus = [line for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if "model name" in line]
    told = {"seconds": round(seconds, 1), "nvcc": nvcc.stdout.splitlines()[-2], "arch": ARCH, "cpus": len(cpus)}
    sys.stdout.write(json.dumps(told | {"cpu": cpus[0].partition(": ")[2] if cpus else platform.machine()}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
