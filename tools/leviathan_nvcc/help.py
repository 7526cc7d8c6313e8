"""What --version, --help and the --list options print."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence
from pathlib import Path

from leviathan_nvcc import CUDA_RELEASE, CUDA_VERSION
from leviathan_nvcc.archs import SUFFIXES, Target
from leviathan_nvcc.option import Effect
from leviathan_nvcc.options import OPTIONS

VERSION = f"""nvcc: NVIDIA (R) Cuda compiler driver
(leviathan_nvcc over clang 19, ptxas and libnvfatbin)
Built without a date
Cuda compilation tools, release {CUDA_RELEASE}, V{CUDA_VERSION}
Build cuda_{CUDA_RELEASE}.r{CUDA_RELEASE}/leviathan
"""
"""torch reads ``release 12.8,``, KTransformers' setup.py the words after ``release``, CMake ``V12.8.93``."""

_TITLES = {
    Effect.USED: "Options",
    Effect.IGNORED: "Accepted without effect, and why",
    Effect.REFUSED: "Not supported, and why",
}


def help_text() -> str:
    """Every option with what it does, or why it does nothing."""
    lines = ["Usage  : nvcc [options] <inputfile>", ""]
    for effect, title in _TITLES.items():
        lines += [title, "=" * len(title)]
        for option in OPTIONS:
            if option.effect is effect:
                lines += [option.title, textwrap.indent(textwrap.fill(option.note, 100), "    ")]
        lines.append("")
    return "\n".join(lines)


def preamble(root: Path, path: str, targets: Sequence[Target]) -> str:
    """What nvcc prints before the commands of ``--verbose`` and ``--dryrun``.

    CMake takes the toolkit's folders from it, finds the link line by LIBRARIES, and the default architecture by
    ``-arch compute_X`` (CMakeDetermineCUDACompiler.cmake).
    """
    archs = " ".join(f"-arch compute_{suffix}" for suffix in sorted({target.arch.suffix for target in targets}))
    return (
        f"#$ TOP={root}\n#$ PATH={path}\n#$ INCLUDES={shlex.quote(f'-I{root}/include')}\n"
        f"#$ LIBRARIES={shlex.quote(f'-L{root}/lib')}\n#$ ARCHITECTURES={archs}\n"
    )


def arch_list(kind: str) -> str:
    """``sm_50`` … or ``compute_50`` …, one a line."""
    return "".join(f"{kind}_{suffix}\n" for suffix in SUFFIXES)
