"""CMake's own CUDA language: it identifies nvcc, builds a program, and the program holds what the project asked for."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from toolkit_bench import Bench

PROJECT = """cmake_minimum_required(VERSION 3.24)
project(addone LANGUAGES CXX CUDA)
message(STATUS "toolkit: ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES} ${CMAKE_CUDA_RUNTIME_LIBRARY_DEFAULT}")
add_executable(main main.cu)
set_target_properties(main PROPERTIES CUDA_STANDARD 17)
"""
MAIN = """#if __CUDACC_VER_MAJOR__ != 12 || __CUDACC_VER_MINOR__ != 8 || __CUDACC_VER_BUILD__ != 93
#error "not the version of the toolkit"
#endif
#ifdef __NVCC__
#error "headers would take clang for EDG"
#endif
#include <cuda_runtime.h>
__global__ void addone(float *a) { a[threadIdx.x] += 1.0f; }
int main() { addone<<<1, 32>>>(nullptr); return 0; }
"""
NEEDED = ("cmake", "ninja")


def make(bench: Bench, *words: str) -> str:
    """What a CMake command says; it must succeed."""
    environment = dict(os.environ) | {"CUDACXX": str(bench.nvcc)}
    done = subprocess.run(["cmake", *words], env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The project's folder; CMake and ninja are part of what these tests need."""
    assert all(shutil.which(name) for name in NEEDED), f"install {' and '.join(NEEDED)}"
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "CMakeLists.txt").write_text(PROJECT)
    (folder / "main.cu").write_text(MAIN)
    return folder


@pytest.mark.parametrize(("named", "archs"), [("90;120", ["90", "120"]), ("", ["52"])], ids=["named", "default"])
def test_a_cuda_project_builds(bench: Bench, project: Path, tmp_path: Path, named: str, archs: list[str]) -> None:
    build = tmp_path / "build"
    words = [f"-DCMAKE_CUDA_ARCHITECTURES={named}"] if named else []
    said = make(bench, "-S", str(project), "-B", str(build), "-G", "Ninja", *words)
    assert "The CUDA compiler identification is NVIDIA 12.8.93" in said
    assert f"toolkit: {bench.nvcc.parents[1]}/include SHARED" in said
    make(bench, "--build", str(build))
    listed = subprocess.run(
        [bench.cuobjdump, "--list-elf", str(build / "main")], capture_output=True, text=True, check=True
    )
    assert [line.split(".sm_")[1].split(".")[0] for line in listed.stdout.splitlines()] == archs
    symbols = subprocess.run(["readelf", "-d", str(build / "main")], capture_output=True, text=True, check=True)
    assert "libcudart.so.12" in symbols.stdout
