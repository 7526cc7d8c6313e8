"""Arguments of the device pipeline: clang's front end, clang's back end, ptxas. Pure, and tested as whole lists.

Every choice that is not nvcc's own behaviour has its reason here:

- ``-disable-llvm-passes``: the front end writes unoptimised IR, which is compared between architectures before the
  expensive back end runs (:mod:`leviathan_nvcc.ir`).
- ``-U__CUDA_ARCH__ -D__CUDA_ARCH__=1200``: clang predefines the macro for the architecture that it compiles for, which
  is sm_90 for everything newer; the source must see its own.
- ``-inline-threshold=100000``: without it clang leaves calls and local arrays in kernels that nvcc inlines whole; in
  Marlin that was 600 to 1,700 bytes of stack a kernel.
- ``-sink-common-insts=false``: sinking two copies into one leaves a pointer that is a choice between a register array
  and shared memory, and the array then stays in local memory (128 bytes in 80 of Marlin's 400 kernels).
- ``-fno-strict-aliasing``: kernels read and write arrays as int4 everywhere; it changed no kernel of Marlin.
- ``-nvptx-fma-level``: ``-ffp-contract`` does not reach the code generator when the input is IR.
- ``-enable-memcpyopt-without-libcalls``, ``+ptx85``: what clang's CUDA driver passes by itself for a source file and
  not for IR.
- ``-Wno-pass-failed``: "loop not unrolled" without a line number, of which nvcc says nothing.
- ``-fdebug-compilation-dir=.``: the folder of the build stays out of debug information; ``-Xcompiler`` may override it.
- ``-D__CUDACC_VER_MAJOR__=12`` and so on: nvcc's version macros. ``__NVCC__`` is not defined: it says "the front end is
  EDG", and CCCL, CUTLASS and the toolkit's own headers then use pragmas and built-ins that clang lacks.
- No CUID: clang puts one into symbols only under ``-fgpu-rdc``.
"""

from __future__ import annotations

from leviathan_nvcc import CUDA_VERSION
from leviathan_nvcc.archs import Arch, Target
from leviathan_nvcc.invocation import Dependencies, Device, Source
from leviathan_nvcc.toolchain import Toolchain

INLINE_THRESHOLD = 100000
"""LLVM's cost limit of inlining in device code; its own default is 225 (times 11 for NVPTX)."""

_BOTH = (
    "-D",
    "-U",
    "-I",
    "-isystem",
    "-iquote",
    "-idirafter",
    "-include",
    "-imacros",
    "-std=",
    "-fno-exceptions",
    "-ffile-prefix-map=",
    "-fmacro-prefix-map=",
    "-fdebug-prefix-map=",
    "-fdebug-compilation-dir=",
    "-Wno-",
    "-w",
    "-march=",
    "-mtune=",
    "-ftemplate-depth=",
    "-fconstexpr-",
    "-fsigned-char",
    "-funsigned-char",
    "-pthread",
)
_VERSION = ("MAJOR", "MINOR", "BUILD")
_TWO_WORDS = ("-D", "-U", "-I", "-isystem", "-iquote", "-idirafter", "-include", "-imacros")


def shared_host_words(words: tuple[str, ...]) -> tuple[str, ...]:
    """The ``-Xcompiler`` words that change what the source says, which device code must see too.

    nvcc runs the host compiler's preprocessor for device code, so its defines, include folders and dialect count there;
    warnings, code generation (-fPIC, -mavx2) and the like do not. -march is passed on as the auxiliary target, which
    decides what the host's headers declare. Negative warnings (-Wno-X) are passed on so that one flag silences both.
    """
    chosen: list[str] = []
    rest = iter(words)
    for word in rest:
        if word.startswith(_BOTH):
            chosen.append(word)
            if word in _TWO_WORDS:
                chosen += [value for value in (next(rest, None),) if value is not None]
    return tuple(chosen)


def source_words(tools: Toolchain, source: Source, device: Device) -> list[str]:
    """What every clang pass over the source gets: toolkit, our header, and the user's macros and folders."""
    return [
        f"--cuda-path={tools.root}",
        "-Wno-unknown-cuda-version",
        "-Wno-unused-command-line-argument",
        "-fdebug-compilation-dir=.",
        *(["-include", str(tools.headers / "leviathan_nvcc.h"), "-idirafter", str(tools.headers / "fallback")]),
        *(f"-D__CUDACC_VER_{part}__={number}" for part, number in zip(_VERSION, CUDA_VERSION.split("."), strict=True)),
        f"-D__CUDA_ARCH_LIST__={device.arch_list}",
        *(["-D__CUDACC_RELAXED_CONSTEXPR__"] if source.relaxed_constexpr else []),
        *(["-D__USE_FAST_MATH__"] if device.fast_math else []),
        *(["-DCUDA_API_PER_THREAD_DEFAULT_STREAM=1"] if source.default_stream == "per-thread" else []),
        *([f"-std={source.std}"] if source.std else []),
        *source.words,
        *source.werror,
        *(["-w"] if source.quiet else []),
    ]


def dependency_words(dependencies: Dependencies | None, file: str) -> list[str]:
    """Makes one pass write its headers to ``file``; the rules are merged afterwards."""
    if dependencies is None:
        return []
    return ["-MD" if dependencies.system else "-MMD", "-MF", file, "-MT", "x"]


def frontend(
    tools: Toolchain, source: Source, device: Device, arch: Arch, path: str, out: str, dependencies: list[str]
) -> list[str]:
    """clang's front end for one virtual architecture: source → unoptimised IR text."""
    return [
        *_pass(tools, source, device, arch),
        "-S",
        "-emit-llvm",
        "-Xclang",
        "-disable-llvm-passes",
        *dependencies,
        path,
        "-o",
        out,
    ]


def preprocess(tools: Toolchain, source: Source, device: Device, arch: Arch, path: str, out: str) -> list[str]:
    """The source as :func:`frontend` will see it, to compare architectures before any of them is parsed."""
    return [*_pass(tools, source, device, arch), "-E", path, "-o", out]


def _pass(tools: Toolchain, source: Source, device: Device, arch: Arch) -> list[str]:
    debug = ["-O0", "-g", "--cuda-noopt-device-debug"] if device.debug else ["-O3"]
    return [
        tools.clang,
        "-x",
        "cuda",
        "--cuda-device-only",
        f"--cuda-gpu-arch={arch.clang}",
        *debug,
        "-fno-strict-aliasing",
        *(["-gline-tables-only"] if device.lineinfo and not device.debug else []),
        *arch_defines(arch),
        *source_words(tools, source, device),
        *(["-fgpu-flush-denormals-to-zero"] if device.ftz else []),
        *(["-fgpu-approx-transcendentals"] if device.fast_math else []),
        *([] if device.fmad else ["-ffp-contract=off"]),
        *shared_host_words(source.host),
    ]


def arch_defines(arch: Arch) -> list[str]:
    """Replaces clang's own ``__CUDA_ARCH__`` by the right one."""
    return ["-U__CUDA_ARCH__", *(f"-D{define}" for define in arch.defines)]


def backend(tools: Toolchain, device: Device, arch: Arch, ir: str, out: str) -> list[str]:
    """clang's back end: IR text → PTX for the architecture that clang knows."""
    division = 2 if device.prec_div else 0 if device.fast_math else 1
    options = [
        "-enable-memcpyopt-without-libcalls",
        f"-nvptx-fma-level={2 if device.fmad else 0}",
        f"-nvptx-prec-divf32={division}",
        f"-nvptx-prec-sqrtf32={int(device.prec_sqrt)}",
        *([] if device.debug else [f"-inline-threshold={INLINE_THRESHOLD}", "-sink-common-insts=false"]),
    ]
    return [
        tools.clang,
        "-x",
        "ir",
        "--target=nvptx64-nvidia-cuda",
        f"-march={arch.clang}",
        "-S",
        "-O0" if device.debug else "-O3",
        "-Xclang",
        "-target-feature",
        "-Xclang",
        "+ptx85",
        "-Wno-pass-failed",
        *(word for option in options for word in ("-mllvm", option)),
        ir,
        "-o",
        out,
    ]


def ptxas(tools: Toolchain, device: Device, target: Target, ptx: str, out: str) -> list[str]:
    """ptxas: PTX → cubin of one real architecture. ``-v`` is always there, for the report."""
    given = [word for word in device.ptxas if word not in ("-v", "--verbose")]
    level = [] if any(word.startswith(("-O", "--opt-level")) for word in given) or device.debug else ["-O3"]
    return [
        tools.ptxas,
        "-m64",
        "-v",
        f"-arch={target.code}",
        *level,
        *(["-g"] if device.debug else []),
        *(["-lineinfo"] if device.lineinfo and not device.debug else []),
        *([] if device.fmad else ["-fmad=false"]),
        *given,
        ptx,
        "-o",
        out,
    ]
