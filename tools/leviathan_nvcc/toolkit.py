"""Lays out a CUDA toolkit from NVIDIA's unpacked wheels, the same bytes whatever the order and the machine.

    python3 -m leviathan_nvcc.toolkit --out DIR [--headers UNPACKED_WHEEL]... UNPACKED_WHEEL...

A wheel holds ``nvidia/<component>/{bin,include,lib,nvvm}``; merged, that is a toolkit's own layout. Added are what
wheels leave out and users look for: ``lib64``, ``libX.so`` beside ``libX.so.12``, ``version.json`` (clang and CMake's
FindCUDAToolkit read it), and ``bin/nvcc``, which runs this package from ``share/nvcc-driver``. NVIDIA's wheels have no
static libraries: ``libcudart_static.a`` is not there, and the driver links the shared runtime.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

TOOLKIT_VERSION = "12.8.1"
"""The release whose compiler is 12.8.93 and whose runtime is 12.8.90 (NVIDIA's CUDA 12.8 Update 1 release notes)."""

NEEDED = (
    "bin/ptxas",
    "nvvm/libdevice/libdevice.10.bc",
    "include/cuda.h",
    "include/crt/host_config.h",
    "include/cuda/std/version",
    "lib/libcudart.so.12",
    "lib/libnvfatbin.so.12",
)
"""What a toolkit must hold for the driver to work; each names the wheel that was forgotten."""

_WHEELS = {
    "bin/ptxas": "nvidia-cuda-nvcc-cu12",
    "nvvm/libdevice/libdevice.10.bc": "nvidia-cuda-nvcc-cu12",
    "include/crt/host_config.h": "nvidia-cuda-nvcc-cu12",
    "include/cuda.h": "nvidia-cuda-runtime-cu12",
    "lib/libcudart.so.12": "nvidia-cuda-runtime-cu12",
    "include/cuda/std/version": "nvidia-cuda-cccl-cu12",
    "lib/libnvfatbin.so.12": "nvidia-nvfatbin-cu12",
}
_SKIPPED = ("__init__.py", "__pycache__", ".metadata")

_LAUNCHER = """#!/bin/sh
exec python3 -I -B "$(dirname -- "$(readlink -f -- "$0")")/../share/nvcc-driver" "$@"
"""
_MAIN = """import runpy

runpy.run_module("leviathan_nvcc", run_name="__main__")
"""


class ToolkitError(Exception):
    """A toolkit that cannot be laid out, in one line."""


def files(wheel: Path) -> Iterator[tuple[str, Path]]:
    """The files of an unpacked wheel by their place in the toolkit, sorted.

    Errors:
        ToolkitError: the folder is no unpacked wheel of NVIDIA.
    """
    components = sorted(path for path in (wheel / "nvidia").glob("*") if path.is_dir() and path.name not in _SKIPPED)
    if not components:
        raise ToolkitError(f"{wheel} holds no nvidia/<component>: unpack one of NVIDIA's wheels there")
    for component in components:
        for path in sorted(component.rglob("*")):
            place = path.relative_to(component)
            if path.is_file() and not any(part in _SKIPPED for part in place.parts):
                yield str(place), path


def versions_of(wheel: Path) -> dict[str, dict[str, str]]:
    """Names and versions of the NVIDIA wheels unpacked in a folder, from their ``.dist-info`` folders."""
    found = (re.fullmatch(r"nvidia_(.+)_cu12-([^-]+)\.dist-info", path.name) for path in wheel.glob("*.dist-info"))
    return {
        match[1]: {"name": f"nvidia-{match[1].replace('_', '-')}-cu12", "version": match[2]} for match in found if match
    }


def _place(source: Path, target: Path) -> None:
    if target.exists():
        if not filecmp.cmp(source, target, shallow=False):
            raise ToolkitError(f"{target} comes from two wheels with different content: name each wheel once")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755 if target.parent.name == "bin" else 0o644)


def _links(out: Path) -> None:
    (out / "lib64").symlink_to("lib")
    for library in sorted((out / "lib").glob("lib*.so.*")):
        name = library.name.partition(".so.")[0] + ".so"
        if not (library.parent / name).exists():
            (library.parent / name).symlink_to(library.name)


def _empty_library(out: Path) -> None:
    """An archive without members for ``-lcudadevrt``, which CMake gives to every link and no wheel has.

    Only relocatable device code takes something from it, which the driver refuses.
    """
    library = out / "lib" / "libcudadevrt.a"
    if not library.exists():
        library.write_bytes(b"!<arch>\n")


def _driver(out: Path) -> None:
    share = out / "share" / "nvcc-driver"
    package = Path(__file__).resolve().parent
    for source in sorted(package.rglob("*")):
        if source.is_file() and "__pycache__" not in source.parts:
            _place(source, share / package.name / source.relative_to(package))
    (share / "__main__.py").write_text(_MAIN)
    (out / "bin" / "nvcc").write_text(_LAUNCHER)
    (out / "bin" / "nvcc").chmod(0o755)


def build(out: Path, wheels: Sequence[Path], headers: Sequence[Path]) -> None:
    """Lays the toolkit out.

    Arguments:
        out: a folder that is not there yet, or is empty.
        wheels: unpacked wheels that are taken whole.
        headers: folders of which only include/ is taken: wheels, or site-packages with several of them (torch's
            headers include those of cuBLAS, cuSOLVER and cuSPARSE, whose libraries no compiler needs).
    Errors:
        ToolkitError: a folder that is no wheel, two wheels that disagree, a needed part that none has.
    """
    if out.exists() and any(out.iterdir()):
        raise ToolkitError(f"{out} is not empty: remove it or name another folder")
    versions = {"cuda": {"name": "CUDA SDK", "version": TOOLKIT_VERSION}}
    for wheel, whole in sorted([(path, True) for path in wheels] + [(path, False) for path in headers]):
        versions |= versions_of(wheel)
        for place, source in files(wheel):
            if whole or place.startswith("include/"):
                _place(source, out / place)
    missing = [f"{place} ({_WHEELS[place]})" for place in NEEDED if not (out / place).exists()]
    if missing:
        raise ToolkitError(f"the wheels lack {', '.join(missing)}: name the wheels in brackets too")
    _links(out)
    _empty_library(out)
    _driver(out)
    (out / "version.json").write_text(json.dumps(versions, indent=1, sort_keys=True) + "\n")


def main(words: Sequence[str] | None = None) -> int:
    """The command line; 1 with one line on stderr if the toolkit cannot be laid out."""
    parser = argparse.ArgumentParser(prog="python3 -m leviathan_nvcc.toolkit", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the toolkit's folder, new or empty")
    parser.add_argument("--headers", type=Path, action="append", default=[], help="a wheel that gives only include/")
    parser.add_argument("wheels", type=Path, nargs="+", help="unpacked wheels")
    arguments = parser.parse_args(words)
    try:
        build(arguments.out, arguments.wheels, arguments.headers)
    except (ToolkitError, OSError) as error:
        sys.stderr.write(f"toolkit: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
