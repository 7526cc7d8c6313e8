"""The GPU half: KTransformersOps, through torch's own build helper and the toolkit's nvcc."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from recipe import RecipeError, run, say
from recipe.compilers import Compilers

NAME = "KTransformersOps"
SOURCES = ("custom_gguf/dequant.cu", "binding.cpp", "gptq_marlin/gptq_marlin.cu")
RPATH = ("$ORIGIN/torch/lib", "$ORIGIN/nvidia/cuda_runtime/lib")

# Runs in a process of its own: setuptools and torch's helper take their settings from argv and the environment.
# Flags as upstream's setup.py has them.
SETUP = """
import sys
from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, CUDAExtension
name, out, build, maps, rpath, *sources = sys.argv[1:]
maps = maps.split()
wrapped = [word for flag in maps for word in ("-Xcompiler", flag)]
setup(
    name=name,
    script_args=["-q", "build_ext", "--build-lib", out, "--build-temp", build],
    cmdclass={"build_ext": BuildExtension.with_options(use_ninja=True)},
    ext_modules=[CUDAExtension(name, sources, runtime_library_dirs=rpath.split(":"), extra_compile_args={
        "cxx": ["-O3", "-g0", *maps], "nvcc": ["-O3", "--use_fast_math", "-Xcompiler", "-fPIC", *wrapped]})],
)
"""


def torch_home() -> Path:
    """torch's folder in the environment of this Python, found without importing it."""
    for entry in sys.path:
        if (Path(entry) / "torch" / "include").is_dir():
            return Path(entry) / "torch"
    raise RecipeError("this Python has no torch: run the recipe with the engine's environment on PYTHONPATH")


def environment(cuda_home: Path, archs: str, jobs: int, compilers: Compilers) -> dict[str, str]:
    """What torch's helper reads: toolkit, architectures ("9.0a 10.0 12.0"), compilers, parallel jobs."""
    return dict(os.environ) | {
        "CUDA_HOME": str(cuda_home),
        "PYTORCH_NVCC": str(cuda_home / "bin" / "nvcc"),
        "TORCH_CUDA_ARCH_LIST": archs,
        "TORCH_DONT_CHECK_COMPILER_ABI": "1",
        "MAX_JOBS": str(jobs),
        "CC": compilers.cc,
        "CXX": compilers.cxx,
        "LDSHARED": f"{compilers.cxx} -shared",
        "LDCXXSHARED": f"{compilers.cxx} -shared",
    }


def make(source: Path, archs: str, cuda_home: Path, out: Path, jobs: int, compilers: Compilers) -> Path:
    """Build KTransformersOps for the GPU architectures `archs` into the site-packages folder `out`.

    Args:
        source: the patched tree of `source.make`.
        archs: as torch writes them, separated by spaces: "9.0a 10.0 12.0".
        cuda_home: a toolkit with bin/nvcc.
        out: the folder, made if it is not there.
        jobs: how many compilers may run at once; nvcc itself may use more.
        compilers: for the host part.

    Returns:
        The path of the shared object, stripped: nvcc puts its process id into symbol names.
    """
    if not (cuda_home / "bin" / "nvcc").is_file():
        raise RecipeError(f"{cuda_home} has no bin/nvcc: name the CUDA toolkit with --cuda-home")
    source, cuda_home, torch = source.resolve(), cuda_home.resolve(), torch_home()
    folder = source / "ktransformers" / "ktransformers_ext" / "cuda"
    with tempfile.TemporaryDirectory(prefix="ktransformersops-") as temporary:
        work = Path(temporary).resolve()
        maps = f"-ffile-prefix-map={source}=/src -ffile-prefix-map={work}=/build -ffile-prefix-map={torch}=/torch"
        maps += f" -ffile-prefix-map={cuda_home}=/cuda"
        argv = [sys.executable, "-c", SETUP, NAME, str(work / "lib"), str(work / "obj"), maps, ":".join(RPATH)]
        argv += [str(folder / name) for name in SOURCES]
        run(argv, cwd=work, env=environment(cuda_home, archs, jobs, compilers))
        file = NAME + str(sysconfig.get_config_var("EXT_SUFFIX"))
        target = out / file
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(work / "lib" / file, target)
    target.chmod(0o755)
    subprocess.run(["strip", "-s", str(target)], check=True)
    say(f"cuda: {target} ({target.stat().st_size} bytes)")
    return target
