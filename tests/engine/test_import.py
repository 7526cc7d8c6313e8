"""The engine imports without a GPU, and is built for the CUDA that the image promises."""

import subprocess
import sys
from pathlib import Path

import engine_process
import pytest


def python(home: Path, code: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", code]
    env = engine_process.environment(home)
    return subprocess.run(argv, capture_output=True, text=True, env=env, cwd=home, timeout=280, check=False)


def test_everything_imports(home: Path) -> None:
    done = python(
        home,
        "import torch, KTransformersOps, cpuinfer_ext, ktransformers.server.main\n"
        "print(torch.version.cuda, torch.__version__)",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-2:] == ["12.8", "2.9.1+cu128"]


def test_operations_are_compiled(home: Path) -> None:
    """A KTransformersOps that imports but lacks a function would fail only when a model loads."""
    done = python(home, "import torch, KTransformersOps as k; print(k.__file__, k.gptq_marlin_gemm.__doc__)")
    assert done.returncode == 0, done.stderr
    assert "KTransformersOps.cpython-311" in done.stdout
    assert "size_k" in done.stdout


@pytest.mark.parametrize("march", engine_process.runnable_marches())
def test_cpu_extension_imports_alone(home: Path, march: str) -> None:
    """Before torch, so its libcudart must come through its own rpath; and with the submodules that are imported."""
    code = f"""
import os
os.environ["LEVIATHAN_MARCH"] = {march!r}
import cpuinfer_ext
from cpuinfer_ext.moe import MOE, MOEConfig
print(cpuinfer_ext.march, cpuinfer_ext.__file__, MOE.__name__)
"""
    done = python(home, code)
    assert done.returncode == 0, done.stderr
    name, file, moe = done.stdout.split()
    assert (name, moe) == (march, "MOE")
    assert f"/{march}/" in file


def test_transformers_sees_no_flash_attention(home: Path) -> None:
    """The stand-in must not look installed: transformers would import functions from it that it does not have."""
    code = """
import flash_attn, transformers.utils as u
print(flash_attn.flash_attn_func.__name__, u.is_flash_attn_2_available(), u.is_torch_available())
"""
    done = python(home, code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-3:] == ["flash_attn_func", "False", "True"]
