"""GPU architectures of CUDA 12.8: which exist, and how clang 19 reaches each of them.

Names and the order come from ``ptxas --help`` of 12.8.93 and nvcc's ``--list-gpu-arch``; the PTX ISA versions from the
"Release Notes" table of NVIDIA's PTX ISA document (sm_100/sm_101: 8.6, sm_120: 8.7).

clang 19 ends at sm_90a. Newer architectures are compiled for ``sm_90`` with their own ``__CUDA_ARCH__``, and the PTX
is then retargeted (:mod:`leviathan_nvcc.ptx`): PTX for sm_90 is legal for every later target. The accelerated variants
("a") go the same way, since what the suffix adds is reached through inline assembly, which clang does not check.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches

from leviathan_nvcc.errors import NvccError

SUFFIXES = (
    "50",
    "52",
    "53",
    "60",
    "61",
    "62",
    "70",
    "72",
    "75",
    "80",
    "86",
    "87",
    "89",
    "90",
    "90a",
    "100",
    "100a",
    "101",
    "101a",
    "120",
    "120a",
)
"""What may follow ``compute_`` and ``sm_`` in CUDA 12.8."""

MAJOR_SUFFIXES = ("50", "60", "70", "80", "90", "100", "120")
"""What ``-arch=all-major`` stands for."""

_CLANG_KNOWS = (50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89, 90)
_PTX_ISA = {100: (8, 6), 101: (8, 6), 120: (8, 7)}
_NAME = re.compile(r"(compute|sm|lto)_(\d+a?)")


@dataclass(frozen=True, order=True)
class Arch:
    """A virtual architecture (``compute_X``): what the front end compiles for.

    Arguments:
        number: 90 for ``compute_90a``.
        accelerated: whether the name ends in ``a``.
    """

    number: int
    accelerated: bool

    @property
    def suffix(self) -> str:
        """``90a`` of ``compute_90a``."""
        return f"{self.number}{'a' if self.accelerated else ''}"

    @property
    def macro(self) -> int:
        """The value of ``__CUDA_ARCH__``."""
        return self.number * 10

    @property
    def defines(self) -> tuple[str, ...]:
        """Macros that nvcc defines in this architecture's device pass, as ``NAME=value``."""
        feature = (f"__CUDA_ARCH_FEAT_SM{self.number}_ALL=1",) if self.accelerated else ()
        return (f"__CUDA_ARCH__={self.macro}", *feature)

    @property
    def clang(self) -> str:
        """The newest ``sm_`` name that clang 19 knows and that is not above this one."""
        return f"sm_{max(known for known in _CLANG_KNOWS if known <= self.number)}"

    @property
    def ptx_target(self) -> str:
        """What the PTX ``.target`` line must say."""
        return f"sm_{self.suffix}"

    @property
    def ptx_isa(self) -> tuple[int, int]:
        """The lowest PTX ISA version that has this target, (0, 0) where clang's own is enough."""
        return _PTX_ISA.get(self.number, (0, 0))


@dataclass(frozen=True, order=True)
class Target:
    """One entry of the fat binary.

    Arguments:
        arch: the virtual architecture that the source is compiled for.
        real: ``90a`` for a cubin of ``sm_90a``; None for the PTX of ``arch`` itself.
    """

    arch: Arch
    real: str | None

    @property
    def code(self) -> str:
        """``sm_90a`` or ``compute_90a``."""
        return f"compute_{self.arch.suffix}" if self.real is None else f"sm_{self.real}"


def parse_arch(suffix: str) -> Arch:
    """``"90a"`` → ``Arch(90, True)``."""
    return Arch(int(suffix.rstrip("a")), suffix.endswith("a"))


def split_name(name: str, option: str) -> tuple[str, str]:
    """Splits ``sm_90a`` into its kind (``sm`` or ``compute``) and suffix.

    Arguments:
        name: the name as the user wrote it.
        option: the option it came from, for the error.
    Errors:
        NvccError: an unknown architecture; the line names the allowed ones and the nearest.
    """
    if name == "native":
        raise NvccError(
            f"'native' in {option} is not supported: a build must not depend on the machine it runs on; "
            "name the architectures, for example -gencode=arch=compute_120,code=sm_120"
        )
    match = _NAME.fullmatch(name)
    if match and match[1] == "lto":
        raise NvccError(f"'{name}' in {option} is not supported: linking device code needs nvlink; use sm_{match[2]}")
    if match is None or match[2] not in SUFFIXES:
        known = [f"{kind}_{suffix}" for kind in ("sm", "compute") for suffix in SUFFIXES]
        near = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise NvccError(
            f"Unsupported gpu architecture '{name}' in {option}{hint} "
            f"CUDA 12.8 has (compute_ or sm_): {' '.join(SUFFIXES)}"
        )
    return match[1], match[2]


def pair(arch: str, code: str, option: str) -> Target:
    """One ``arch=compute_X,code=Y`` pair.

    Errors:
        NvccError: the two do not fit: a real architecture below its virtual one, or an "a" variant mixed with another.
    """
    arch_kind, arch_suffix = split_name(arch, option)
    code_kind, code_suffix = split_name(code, option)
    virtual, wanted = parse_arch(arch_suffix), parse_arch(code_suffix)
    if arch_kind != "compute":
        raise NvccError(f"'{arch}' in {option} is a real architecture: arch= takes 'compute_{arch_suffix}'")
    if code_kind == "compute":
        if wanted != virtual:
            raise NvccError(f"'code={code}' in {option} must be the PTX of its own arch: 'code=compute_{arch_suffix}'")
        return Target(virtual, None)
    if wanted.number < virtual.number or (virtual.accelerated and wanted != virtual):
        raise NvccError(f"Incompatible pair in {option}: code for '{code}' cannot be made from '{arch}'")
    return Target(virtual, code_suffix)


def parse_gencode(text: str) -> tuple[Target, ...]:
    """The value of ``-gencode``: ``arch=compute_90,code=[sm_90,compute_90]``, quotes and brackets optional.

    Errors:
        NvccError: a value of another form, or an unknown architecture.
    """
    option = "--generate-code"
    plain = re.sub(r"[\[\]\"'\s]", "", text)
    match = re.fullmatch(r"arch=([^,=]+),code=([^=]+)", plain)
    if match is None:
        raise NvccError(f"'{text}' is not a value of {option}: it reads arch=compute_90,code=[sm_90,compute_90]")
    return tuple(pair(match[1], code, option) for code in match[2].split(","))


def from_arch(arch: str | None, codes: tuple[str, ...]) -> tuple[Target, ...]:
    """The targets of ``-arch`` and ``-code``; without either, nvcc's default ``sm_52``.

    ``-arch=sm_X`` alone stands for ``arch=compute_X,code=[sm_X,compute_X]``, ``all`` and ``all-major`` for every
    (major) real architecture and the PTX of the newest.
    """
    option = "--gpu-architecture"
    if arch in ("all", "all-major"):
        suffixes = MAJOR_SUFFIXES if arch == "all-major" else tuple(s for s in SUFFIXES if not s.endswith("a"))
        reals = tuple(Target(parse_arch(suffix), suffix) for suffix in suffixes)
        return (*reals, Target(parse_arch(suffixes[-1]), None))
    kind, suffix = split_name(arch or "sm_52", option)
    if codes:
        return tuple(pair(f"compute_{suffix}", code, "--gpu-code") for code in codes)
    virtual = Target(parse_arch(suffix), None)
    return (virtual,) if kind == "compute" else (Target(virtual.arch, suffix), virtual)
