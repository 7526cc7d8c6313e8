"""Arguments of the host side: the host pass over CUDA source, plain C and C++, preprocessing, linking. Pure.

The host pass is clang's whatever ``-ccbin`` says: kernel launches, fat binary registration and ``__host__`` overloads
are clang's own. ``-ccbin`` compiles .c and .cpp files and links.
"""

from __future__ import annotations

from leviathan_nvcc.device import arch_defines, shared_host_words, source_words
from leviathan_nvcc.errors import NvccError
from leviathan_nvcc.invocation import Device, Invocation, Link, Source
from leviathan_nvcc.toolchain import Toolchain


def _words(tools: Toolchain, source: Source, device: Device) -> list[str]:
    return [
        *source_words(tools, source, device),
        *([f"-O{source.optimize}"] if source.optimize else []),
        *(["-g"] if source.debug else []),
        *([] if source.exceptions else ["-fno-exceptions"]),
        *(["-fgpu-default-stream=per-thread"] if source.default_stream == "per-thread" else []),
        *source.host,
    ]


def compile_cuda(
    tools: Toolchain, source: Source, device: Device, path: str, fatbin: str, out: str, dependencies: list[str]
) -> list[str]:
    """The host pass: CUDA source → object with the fat binary inside."""
    return [
        tools.clang,
        "-x",
        "cuda",
        "--cuda-host-only",
        "-Xclang",
        "-fcuda-include-gpubinary",
        "-Xclang",
        fatbin,
        "-c",
        *_words(tools, source, device),
        *dependencies,
        path,
        "-o",
        out,
    ]


def compile_plain(
    tools: Toolchain, invocation: Invocation, language: str, path: str, out: str, dependencies: list[str]
) -> list[str]:
    """A C or C++ file → object, with the toolkit's headers, by -ccbin or clang."""
    source = invocation.source
    return [
        invocation.link.compiler or tools.clang,
        "-x",
        language,
        "-c",
        *([f"-std={source.std}"] if source.std else []),
        *source.words,
        "-isystem",
        str(tools.root / "include"),
        *source.werror,
        *(["-w"] if source.quiet else []),
        *([f"-O{source.optimize}"] if source.optimize else []),
        *(["-g"] if source.debug else []),
        *([] if source.exceptions else ["-fno-exceptions"]),
        *source.host,
        *dependencies,
        path,
        "-o",
        out,
    ]


def preprocess(tools: Toolchain, source: Source, device: Device, path: str, out: str | None) -> list[str]:
    """The host pass's preprocessed text, to a file or stdout."""
    return [
        tools.clang,
        "-x",
        "cuda",
        "--cuda-host-only",
        "-E",
        *_words(tools, source, device),
        path,
        *(["-o", out] if out else []),
    ]


def scans(tools: Toolchain, invocation: Invocation, path: str, language: str) -> list[list[str]]:
    """One command for each pass's headers (-M, -MM), without ``-o``: the host's, then each virtual architecture's."""
    one = invocation
    flag = "-M" if one.dependencies is None or one.dependencies.system else "-MM"
    if language != "cu":
        return [[one.link.compiler or tools.clang, "-x", language, flag, *one.source.words, *one.source.host, path]]
    words = [*source_words(tools, one.source, one.device), *shared_host_words(one.source.host), path]
    archs = sorted({target.arch for target in one.device.targets})
    return [
        [tools.clang, "-x", "cuda", "--cuda-host-only", flag, *words],
        *(
            [
                tools.clang,
                "-x",
                "cuda",
                "--cuda-device-only",
                f"--cuda-gpu-arch={arch.clang}",
                flag,
                *arch_defines(arch),
                *words,
            ]
            for arch in archs
        ),
    ]


def cudart(tools: Toolchain, link: Link) -> list[str]:
    """The runtime library: static where the toolkit has it, as nvcc does, else shared; ``-cudart`` decides.

    Errors:
        NvccError: ``-cudart static`` and a toolkit without libcudart_static.a (NVIDIA's wheels have none).
    """
    static = tools.root / "lib" / "libcudart_static.a"
    kind = link.cudart or ("static" if static.exists() else "shared")
    if kind == "none":
        return []
    if kind == "static" and not static.exists():
        raise NvccError(f"-cudart static: {static} is not there, NVIDIA's wheels hold none; use -cudart shared")
    library = ["-lcudart_static", "-lrt", "-lpthread", "-ldl"] if kind == "static" else ["-lcudart"]
    return [f"-L{tools.root / 'lib'}", *library]


def link(tools: Toolchain, invocation: Invocation, objects: list[str], out: str) -> list[str]:
    """Objects and libraries → program or shared library."""
    given = invocation.link
    return [
        given.compiler or tools.clang,
        *(["-shared"] if given.shared else []),
        *(["-g"] if invocation.source.debug else []),
        *invocation.source.host,
        *objects,
        *given.words,
        *cudart(tools, given),
        "-o",
        out,
    ]
