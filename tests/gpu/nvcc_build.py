"""Builds the engine's CUDA sources with the nvcc and the torch that are there: `nvcc_build.py SOURCES OUT`.

SOURCES is the folder ktransformers_ext/cuda of the unpacked sdist. The whole Marlin file takes nvcc more than a quarter
of an hour, so only what DeepSeek-V3's layers use is instantiated: 4 bits, groups of 64. The result, KTransformersOps in
OUT, is what `kernels.py --module OUT` takes.
"""

import re
import shutil
import sys
from pathlib import Path

from torch.utils import cpp_extension


def main(sources: Path, out: Path) -> None:
    """Copies the sources, drops the other instantiations, compiles for sm_90a."""
    work = out / "sources"
    shutil.copytree(sources, work, dirs_exist_ok=True)
    marlin = work / "gptq_marlin" / "gptq_marlin.cu"
    marlin.chmod(0o644)
    text = marlin.read_text(encoding="utf-8")
    other = r"\n    __CALL_IF\(NUM_BITS, \d, N_BLOCKS, K_BLOCKS, (true, 0|false, (-1|2|8)), NUM_THREADS\) *\\"
    text = re.sub(other, "", text)
    text = re.sub(r"\n    __CALL_IF\(NUM_BITS, 4, N_BLOCKS, K_BLOCKS, false, 8, NUM_THREADS\)", "\n", text)
    text = re.sub(r"\n +CALL_IF\(8, \d+, \d+, \d+\)", "", text)
    marlin.write_text(text, encoding="utf-8")
    cpp_extension.load(
        name="KTransformersOps",
        sources=[str(work / name) for name in ("custom_gguf/dequant.cu", "binding.cpp", "gptq_marlin/gptq_marlin.cu")],
        extra_cflags=["-O3"],
        extra_cuda_cflags=["-O3", "--use_fast_math", "-gencode=arch=compute_90a,code=sm_90a"],
        extra_include_paths=[str(work)],
        build_directory=str(out),
        is_python_module=True,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
