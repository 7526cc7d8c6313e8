"""What one call has to do, as frozen data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePath

from leviathan_nvcc import archs


class Mode(Enum):
    """Where the compilation stops; the value is the suffix of the default output."""

    OBJECT = ".o"
    PTX = ".ptx"
    CUBIN = ".cubin"
    FATBIN = ".fatbin"
    PREPROCESS = ""
    DEPENDENCIES = ".d"
    LINK = "a.out"


@dataclass(frozen=True)
class Device:
    """How device code is compiled.

    Arguments:
        targets: the entries of the fat binary, sorted, each once.
        debug: ``-G``; lineinfo: ``-lineinfo``.
        fast_math, ftz, prec_div, prec_sqrt, fmad: nvcc's floating-point switches, already resolved.
        ptxas: extra words for ptxas, maxrregcount among them.
        compress: libnvfatbin's compress mode.
    """

    targets: tuple[archs.Target, ...]
    debug: bool = False
    lineinfo: bool = False
    fast_math: bool = False
    ftz: bool = False
    prec_div: bool = True
    prec_sqrt: bool = True
    fmad: bool = True
    ptxas: tuple[str, ...] = ()
    compress: str = "default"

    @property
    def arch_list(self) -> str:
        """``__CUDA_ARCH_LIST__``: the values of ``__CUDA_ARCH__``, rising."""
        return ",".join(str(macro) for macro in sorted({target.arch.macro for target in self.targets}))


@dataclass(frozen=True)
class Source:
    """How source text is read, in every pass.

    Arguments:
        words: -D, -U, -I, -isystem and -include in the order of the command line, as clang takes them.
        std: the dialect, or None for clang's default (gnu++17).
        host: ``-Xcompiler`` words, unknown options forwarded to the host compiler among them.
        optimize: ``-O`` of host code, or None.
        debug: ``-g``.
        quiet: ``-w``.
        default_stream: legacy or per-thread.
        relaxed_constexpr: whether to define ``__CUDACC_RELAXED_CONSTEXPR__``.
        werror: clang's ``-Werror`` words.
    """

    words: tuple[str, ...] = ()
    std: str | None = None
    host: tuple[str, ...] = ()
    optimize: str | None = None
    debug: bool = False
    quiet: bool = False
    default_stream: str = "legacy"
    relaxed_constexpr: bool = False
    exceptions: bool = True
    werror: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dependencies:
    """The make rule: whether, where, with which targets.

    Arguments:
        system: whether system headers are listed (-M, -MD) or not (-MM, -MMD).
        file: ``-MF``, or None.
        targets: already quoted for make, empty for the output's name.
        phony: ``-MP``.
    """

    system: bool = True
    file: str | None = None
    targets: tuple[str, ...] = ()
    phony: bool = False


@dataclass(frozen=True)
class Link:
    """What the link step gets besides objects."""

    shared: bool = False
    words: tuple[str, ...] = ()
    cudart: str | None = None
    compiler: str | None = None


@dataclass(frozen=True)
class Invocation:
    """One call of the driver.

    Arguments:
        mode: where to stop.
        inputs: input files as given.
        output: ``-o`` or None; folder: ``-odir`` or None.
        language: ``-x``: cu, c++, c, or None to go by the name.
        threads: how many tools at once; 0 for one a processor, None for the default.
        keep: the folder that gets PTX, cubins and the fat binary, or None.
        report: the JSON report's file, or None; report_folder: the folder of one report an object, or None.
        ptxas_info: whether ptxas's statistics are printed.
    """

    mode: Mode
    inputs: tuple[str, ...]
    output: str | None
    folder: str | None
    language: str | None
    device: Device
    source: Source
    dependencies: Dependencies | None
    link: Link
    threads: int | None = None
    keep: str | None = None
    report: str | None = None
    report_folder: str | None = None
    ptxas_info: bool = False
    verbose: bool = False
    dryrun: bool = False


def make_quote(name: str) -> str:
    """A file name as make reads it: ``$`` doubled, blanks and ``#`` escaped (what -MQ does)."""
    return re.sub(r"([ \t#])", r"\\\1", name.replace("$", "$$"))


def output_of(invocation: Invocation, source: str) -> str:
    """The file that a source's stage ends in: ``-o``, or the source's stem with the mode's suffix."""
    if invocation.output is not None:
        return invocation.output
    name = PurePath(source).stem + invocation.mode.value if invocation.mode is not Mode.LINK else Mode.LINK.value
    return str(PurePath(invocation.folder) / name) if invocation.folder else name
