"""Laying a toolkit out of unpacked wheels, and finding the parts again."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from leviathan_nvcc import toolchain, toolkit
from leviathan_nvcc.errors import NvccError

WHEELS = {
    "cuda_nvcc": {"bin/ptxas": "ptxas", "nvvm/libdevice/libdevice.10.bc": "bc", "include/crt/host_config.h": "crt"},
    "cuda_runtime": {"include/cuda.h": "cuda", "lib/libcudart.so.12": "cudart"},
    "cuda_cccl": {"include/cuda/std/version": "cccl", ".metadata/x": "no", "__init__.py": "no"},
    "nvfatbin": {"lib/libnvfatbin.so.12": "nvfatbin", "include/nvFatbin.h": "h", "lib/__init__.py": "no"},
}
HEADERS = {"cublas": {"include/cublas.h": "cublas", "lib/libcublas.so.12": "big"}}


@pytest.fixture
def unpack(tmp_path: Path) -> Callable[..., list[Path]]:
    def make(wheels: dict[str, dict[str, str]] | None = None) -> list[Path]:
        made = []
        for component, contents in (wheels or WHEELS).items():
            wheel = tmp_path / "wheels" / component
            (wheel / f"nvidia_{component}_cu12-12.8.90.dist-info").mkdir(parents=True, exist_ok=True)
            for place, text in contents.items():
                file = wheel / "nvidia" / component / place
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            made.append(wheel)
        return made

    return make


def listing(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): f"-> {path.readlink()}" if path.is_symlink() else path.read_text()
        for path in sorted(root.rglob("*"))
        if (path.is_file() or path.is_symlink()) and "share" not in path.parts
    }


def test_a_toolkit_from_wheels(tmp_path: Path, unpack: Callable[..., list[Path]]) -> None:
    out = tmp_path / "cuda"
    toolkit.build(out, unpack(), unpack(HEADERS))
    found = listing(out)
    launcher, versions = found.pop("bin/nvcc"), json.loads(found.pop("version.json"))
    assert found == {
        "bin/ptxas": "ptxas",
        "nvvm/libdevice/libdevice.10.bc": "bc",
        "include/crt/host_config.h": "crt",
        "include/cuda.h": "cuda",
        "include/cuda/std/version": "cccl",
        "include/nvFatbin.h": "h",
        "include/cublas.h": "cublas",
        "lib/libcudart.so.12": "cudart",
        "lib/libcudadevrt.a": "!<arch>\n",
        "lib/libcudart.so": "-> libcudart.so.12",
        "lib/libnvfatbin.so.12": "nvfatbin",
        "lib/libnvfatbin.so": "-> libnvfatbin.so.12",
        "lib64": "-> lib",
    }
    assert versions["cuda"] == {"name": "CUDA SDK", "version": "12.8.1"}
    assert versions["cuda_nvcc"] == {"name": "nvidia-cuda-nvcc-cu12", "version": "12.8.90"}
    assert launcher.startswith("#!/bin/sh\n")
    assert all(os.access(out / "bin" / name, os.X_OK) for name in ("ptxas", "nvcc"))
    driver = out / "share" / "nvcc-driver"
    assert (driver / "leviathan_nvcc" / "include" / "leviathan_nvcc.h").is_file()
    assert not list(driver.rglob("__pycache__"))


def test_the_order_of_wheels_changes_nothing(tmp_path: Path, unpack: Callable[..., list[Path]]) -> None:
    wheels = unpack()
    toolkit.build(tmp_path / "one", wheels, [])
    toolkit.build(tmp_path / "two", wheels[::-1], [wheels[0]])
    assert listing(tmp_path / "one") == listing(tmp_path / "two")


def test_wheels_that_disagree(
    tmp_path: Path, unpack: Callable[..., list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    wheels = unpack() + unpack({"other": {"include/cuda.h": "another"}})
    assert toolkit.main(["--out", str(tmp_path / "cuda"), *map(str, wheels)]) == 1
    assert "include/cuda.h comes from two wheels with different content" in capsys.readouterr().err


MISSING = [
    ("nvfatbin", "lib/libnvfatbin.so.12 (nvidia-nvfatbin-cu12)"),
    ("cuda_nvcc", "bin/ptxas (nvidia-cuda-nvcc-cu12)"),
    ("cuda_cccl", "include/cuda/std/version (nvidia-cuda-cccl-cu12)"),
]


@pytest.mark.parametrize(("component", "named"), MISSING)
def test_a_forgotten_wheel_is_named(
    tmp_path: Path, unpack: Callable[..., list[Path]], capsys: pytest.CaptureFixture[str], component: str, named: str
) -> None:
    wheels = [wheel for wheel in unpack() if wheel.name != component]
    assert toolkit.main(["--out", str(tmp_path / "cuda"), *map(str, wheels)]) == 1
    error = capsys.readouterr().err
    assert named in error
    assert error.count("\n") == 1


def test_no_wheel_and_no_room(
    tmp_path: Path, unpack: Callable[..., list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert toolkit.main(["--out", str(tmp_path / "cuda"), str(tmp_path)]) == 1
    assert "holds no nvidia/<component>" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    assert toolkit.main(["--out", str(tmp_path / "full"), *map(str, unpack())]) == 1
    assert "is not empty" in capsys.readouterr().err


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH with a clang++-19 and a clang++-18, which only say their version."""
    folder = tmp_path / "path"
    folder.mkdir()
    for major in (18, 19):
        clang = folder / f"clang++-{major}"
        clang.write_text(f"#!/bin/sh\necho {major}.1.7\n")
        clang.chmod(0o755)
    return str(folder)


def test_the_parts_are_found_in_order(toolkit: Path, path: str, tmp_path: Path) -> None:
    inside = toolkit / "share" / "nvcc-driver" / "leviathan_nvcc"
    outside = tmp_path / "elsewhere"
    environment = {"PATH": path, "CUDA_HOME": str(toolkit)}
    tools = toolchain.find(environment, outside)
    assert (tools.root, tools.clang, tools.headers) == (toolkit, f"{path}/clang++-19", outside / "include")
    assert toolchain.find({"PATH": path, "CUDA_HOME": "/other"}, inside).root == toolkit
    with pytest.raises(NvccError, match=r"The toolkit /other \(LEVIATHAN_CUDA_HOME\) lacks bin/ptxas, nvvm"):
        toolchain.find({"PATH": path, "LEVIATHAN_CUDA_HOME": "/other"}, inside)
    with pytest.raises(NvccError, match=r"No CUDA 12.8.93 toolkit: set LEVIATHAN_CUDA_HOME"):
        toolchain.find({"PATH": path}, outside)


def test_clang_is_the_right_one(toolkit: Path, path: str) -> None:
    environment = {"PATH": path, "CUDA_HOME": str(toolkit)}
    assert toolchain.find({**environment, "LEVIATHAN_CLANG": "clang++-19"}, Path("/x")).clang == f"{path}/clang++-19"
    with pytest.raises(NvccError, match=r"is clang 18.1.7: name clang 19"):
        toolchain.find({**environment, "LEVIATHAN_CLANG": "clang++-18"}, Path("/x"))
    with pytest.raises(NvccError, match="No clang\\+\\+-19 in PATH: install Debian's package clang-19"):
        toolchain.find({**environment, "PATH": "/nowhere"}, Path("/x"))
