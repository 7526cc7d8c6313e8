"""Where the parts are: the toolkit's folder, clang, ptxas, libnvfatbin, our headers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from leviathan_nvcc import CLANG_MAJOR, CUDA_VERSION
from leviathan_nvcc.errors import NvccError

_MARKS = ("bin/ptxas", "nvvm/libdevice/libdevice.10.bc", "include/cuda.h", "lib/libnvfatbin.so.12")


@dataclass(frozen=True)
class Toolchain:
    """The parts that the driver calls.

    Arguments:
        root: the toolkit, ``$CUDA_HOME``.
        clang: the clang++ that compiles CUDA and links.
        headers: the folder of this package's own headers.
    """

    root: Path
    clang: str
    headers: Path

    @property
    def ptxas(self) -> str:
        """The assembler of PTX."""
        return str(self.root / "bin" / "ptxas")

    @property
    def nvfatbin(self) -> Path:
        """The library that packs fat binaries."""
        return self.root / "lib" / "libnvfatbin.so.12"


def find(environment: Mapping[str, str], here: Path | None = None) -> Toolchain:
    """Finds the parts.

    Arguments:
        environment: ``LEVIATHAN_CUDA_HOME`` names the toolkit, before the one that contains this package, before
            ``CUDA_HOME``; ``LEVIATHAN_CLANG`` names the compiler.
        here: this package's folder.
    Errors:
        NvccError: no toolkit, a toolkit without one of its parts, no clang 19.
    """
    here = here or Path(__file__).resolve().parent
    return Toolchain(_root(environment, here), _clang(environment), here / "include")


def _root(environment: Mapping[str, str], here: Path) -> Path:
    own = next((parent for parent in here.parents if not _missing(parent)), None)
    for name in ("LEVIATHAN_CUDA_HOME", "CUDA_HOME"):
        if environment.get(name) and (own is None or name == "LEVIATHAN_CUDA_HOME"):
            root = Path(environment[name])
            if _missing(root):
                raise NvccError(
                    f"The toolkit {root} ({name}) lacks {', '.join(_missing(root))}: lay it out from NVIDIA's wheels "
                    "with python3 -m leviathan_nvcc.toolkit"
                )
            return root
    if own is None:
        raise NvccError(f"No CUDA {CUDA_VERSION} toolkit: set LEVIATHAN_CUDA_HOME to its folder")
    return own


def _missing(root: Path) -> list[str]:
    return [mark for mark in _MARKS if not (root / mark).exists()]


def _clang(environment: Mapping[str, str]) -> str:
    named = environment.get("LEVIATHAN_CLANG")
    path = shutil.which(named or f"clang++-{CLANG_MAJOR}", path=environment.get("PATH"))
    if path is None:
        what = f"{named} (LEVIATHAN_CLANG)" if named else f"clang++-{CLANG_MAJOR} in PATH"
        raise NvccError(f"No {what}: install Debian's package clang-{CLANG_MAJOR}, or set LEVIATHAN_CLANG")
    if named:
        version = _version(path)
        if version.partition(".")[0] != str(CLANG_MAJOR):
            raise NvccError(f"{path} (LEVIATHAN_CLANG) is clang {version}: name clang {CLANG_MAJOR}")
    return path


def _version(clang: str) -> str:
    try:
        done = subprocess.run([clang, "-dumpversion"], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise NvccError(f"Could not ask {clang} (LEVIATHAN_CLANG) for its version: {error}") from None
    return done.stdout.strip()
