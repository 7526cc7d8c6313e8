"""The CPU half: cpuinfer_ext, KTransformers' CMake project, once for each -march entry."""

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from recipe import RecipeError, march, run, say
from recipe.compilers import Compilers

PROJECT = "ktransformers/ktransformers_ext"
NAME = "cpuinfer_ext"


def subfolder(entry: str) -> str:
    """Where below site-packages the build for one -march entry lies; `cpuinfer_ext.py` looks there."""
    return f"ktransformers_ext/cpu/{entry}"


def flags(entry: str, source: Path, build: Path) -> str:
    """Flags for C and for C++ alike: the -march entry, and prefix maps that keep both folders out of the result.

    -march alone defines every __AVX512...__ macro that ggml and llamafile choose their kernels by, for exactly the
    instructions of that CPU; upstream's LLAMA_* options would only add single -m flags to it.
    """
    return f"-march={entry} -ffile-prefix-map={source}=/src -ffile-prefix-map={build}=/build"


def configure(source: Path, build: Path) -> list[str]:
    """The argv of CMake's configure step.

    OpenMP is off because KTransformers brings its own threads and would only drag libomp into the image; LTO, which is
    pybind11's default, because clang's needs a linker plug-in. The rpath finds libcudart in NVIDIA's wheel, so that the
    extension can be imported before torch, and with no GPU.
    """
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_BUILD_WITH_INSTALL_RPATH": "ON",
        "CMAKE_INSTALL_RPATH": "$ORIGIN/../../../nvidia/cuda_runtime/lib",
        "CMAKE_INTERPROCEDURAL_OPTIMIZATION": "OFF",
        "CMAKE_STRIP": shutil.which("strip") or "strip",
        "PYTHON_EXECUTABLE": sys.executable,
        "LLAMA_NATIVE": "OFF",
        "LLAMA_CCACHE": "OFF",
        "LLAMA_LLAMAFILE": "OFF",
        "LLAMA_OPENMP": "OFF",
    }
    defines = [f"-D{name}={value}" for name, value in options.items()]
    return ["cmake", "-GNinja", "-S", str(source / PROJECT), "-B", str(build), *defines]


def make(source: Path, entry: str, cuda_home: Path, out: Path, jobs: int, compilers: Compilers) -> Path:
    """Build the extension for one -march entry.

    Args:
        source: the patched tree of `source.make`.
        entry: a name in march.json.
        cuda_home: a toolkit with include/ and lib64/ or lib/ (only the runtime's headers and libcudart are used).
        out: a site-packages folder; the extension goes to `subfolder(entry)` in it.
        jobs: how many compilers may run at once.
        compilers: which.

    Returns:
        The path of the shared object.
    """
    march.flags(entry)
    if not (cuda_home / "include" / "cuda_runtime.h").is_file():
        raise RecipeError(f"{cuda_home} has no include/cuda_runtime.h: name the CUDA toolkit with --cuda-home")
    source = source.resolve()
    with tempfile.TemporaryDirectory(prefix="cpuinfer-") as folder:
        build = Path(folder).resolve()
        kept = {k: v for k, v in os.environ.items() if k not in ("USE_NUMA", "LDFLAGS", "CPPFLAGS")}
        both = flags(entry, source, build)
        env = kept | {"CUDA_HOME": str(cuda_home.resolve()), "CC": compilers.cc, "CXX": compilers.cxx}
        env |= {"CFLAGS": both, "CXXFLAGS": both}
        run(configure(source, build), cwd=build, env=env)
        run(["ninja", f"-j{jobs}", NAME], cwd=build, env=env)
        file = NAME + str(sysconfig.get_config_var("EXT_SUFFIX"))
        target = out / subfolder(entry) / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(build / file, target)
        target.chmod(0o755)
    say(f"cpu: {target} ({target.stat().st_size} bytes)")
    return target
