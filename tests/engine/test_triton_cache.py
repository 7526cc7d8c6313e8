"""The shipped Triton cache serves KTransformers' decode kernels in a process that can run no compiler."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import engine_process
import pytest

HERE = Path(__file__).resolve().parent
SCRIPT = Path(
    os.environ.get("LEVIATHAN_TRITON_CACHE", HERE.parent.parent / "nix" / "ktransformers" / "triton_cache.py")
)
COMPILER = shutil.which("clang-19") or shutil.which("gcc")

# What cuda_utils and the launchers call.
DRIVER = """
cuCtxGetCurrent cuCtxSetCurrent cuDeviceGet cuDeviceGetAttribute cuDevicePrimaryCtxRetain cuFuncGetAttribute
cuFuncSetAttribute cuFuncSetCacheConfig cuGetErrorString cuModuleGetFunction cuModuleLoadData cuPointerGetAttribute
cuCtxSetLimit cuCtxGetLimit cuOccupancyMaxActiveClusters cuTensorMapEncodeTiled cuLaunchKernelEx
"""


@pytest.fixture(scope="module")
def libcuda(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A stand-in for the driver's library, so that modules can be loaded; "" where no C compiler is to be had."""
    if COMPILER is None:
        return ""
    folder = tmp_path_factory.mktemp("libcuda")
    (folder / "cuda.c").write_text("".join(f"int {name}(void) {{ return 100; }}\n" for name in DRIVER.split()))
    argv = [COMPILER, "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "cuda.c", "-o", "libcuda.so.1"]
    subprocess.run(argv, cwd=folder, check=True, timeout=60)
    return str(folder / "libcuda.so.1")


def ask(home: Path, own: Path, libcuda: str, capability: int, cases: str, *, shipped: bool = True) -> dict[str, Any]:
    """Run triton_run.py with an empty PATH and an empty cache of its own at `own`."""
    env = engine_process.environment(home) | {
        "PATH": str(home / "no-programs"),
        "TRITON_CACHE_DIR": str(own),
        "TRITON_LIBCUDA_PATH": str(home),
    }
    env.pop("CC", None)
    if shipped:
        env["TRITON_CACHE_MANAGER"] = "triton_shipped:CacheManager"
    argv = [sys.executable, str(HERE / "triton_run.py"), str(SCRIPT), str(capability), cases, libcuda]
    done = subprocess.run(argv, capture_output=True, text=True, env=env, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.parametrize("capability", [90, 100, 120])
def test_nothing_is_compiled(home: Path, tmp_path: Path, libcuda: str, capability: int) -> None:
    """Cache lengths other than the ones compiled are hits too: only divisibility by 16 and being 1 count."""
    result = ask(home, tmp_path / "own", libcuda, capability, "128:128,128:515,16:16,16:1")
    assert result["kernels"] == ["_fwd_grouped_kernel_stage1", "_fwd_kernel_stage2"] * 4
    assert set(result["hits"]) == {True}
    assert result["launchers"] == 8, result["problem"]
    assert not (tmp_path / "own").exists()


def test_another_model_needs_no_c_compiler(home: Path, tmp_path: Path, libcuda: str) -> None:
    """Another number of heads is another kernel, which ptxas compiles, with the same launchers."""
    result = ask(home, tmp_path / "own", libcuda, 90, "24:128")
    assert result["hits"] == [False, True]
    assert result["launchers"] == 2, result["problem"]
    assert list((tmp_path / "own").rglob("*.cubin"))


def test_without_the_shipped_cache_a_compiler_is_missing(home: Path, tmp_path: Path, libcuda: str) -> None:
    """The control: the same process does notice when something must be compiled."""
    result = ask(home, tmp_path / "own", libcuda, 90, "128:128", shipped=False)
    assert result["hits"] == [False, False]
    assert "C compiler" in result["problem"]
