"""From settings to an invocation: values get types and are checked against each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath

from leviathan_nvcc import archs
from leviathan_nvcc.cmdline import CommandLine
from leviathan_nvcc.errors import NvccError
from leviathan_nvcc.invocation import Dependencies, Device, Invocation, Link, Mode, Source, make_quote

_STOPS = {
    "compile": Mode.OBJECT,
    "ptx": Mode.PTX,
    "cubin": Mode.CUBIN,
    "fatbin": Mode.FATBIN,
    "preprocess": Mode.PREPROCESS,
    "generate-dependencies": Mode.DEPENDENCIES,
    "generate-nonsystem-dependencies": Mode.DEPENDENCIES,
    "link": Mode.LINK,
}
_WORDS = {
    "define-macro": "-D",
    "undefine-macro": "-U",
    "include-path": "-I",
    "system-include": "-isystem",
    "pre-include": "-include",
}
_WERROR = {
    "all-warnings": "-Werror",
    "reorder": "-Werror=reorder",
    "deprecated-declarations": "-Werror=deprecated-declarations",
    "cross-execution-space-call": "",
    "default-stream-launch": "",
    "missing-launch-bounds": "",
    "ext-lambda-captures-this": "",
}
_ONLY_FALSE = ("static-global-template-stub", "device-entity-has-hidden-visibility", "device-stack-protector")
#: CMake's question which compiler this is. It asks by __NVCC__, which no other source sees: see leviathan_nvcc.device.
CMAKE_ID = "CMakeCUDACompilerId.cu"
_AS_NVCC = ("-D__NVCC__",)
_TO_COMPILER = ("forward-unknown-to-host-compiler", "forward-unknown-opts")
_TO_LINKER = ("forward-unknown-to-host-linker", "forward-unknown-opts")
_CLANG = {
    "ftemplate-depth": "ftemplate-depth",
    "ftemplate-backtrace-limit": "ftemplate-backtrace-limit",
    "fmax-errors": "ferror-limit",
}
_CHOICES = {
    "optimize": "0 1 2 3",
    "dopt": "on",
    "machine": "64",
    "cudart": "none shared static",
    "x": "cu c++ c",
    "default-stream": "legacy null per-thread",
    "compress-mode": "default size speed balance none",
    "std": " ".join(f"{kind}++{year}" for kind in ("c", "gnu") for year in ("03", "11", "14", "17", "20", "23")),
}


class _Settings:
    """The settings by key, with checks on the way out."""

    def __init__(self, line: CommandLine) -> None:
        self.pairs = line.settings
        self.last = dict(line.settings)
        for key, value in self.pairs:
            if key in _CHOICES and value not in _CHOICES[key].split():
                allowed = ", ".join(_CHOICES[key].split())
                raise NvccError(f"Value '{value}' is not defined for option '--{key}': allowed are {allowed}")

    def flag(self, *keys: str) -> bool:
        return any(key in self.last for key in keys)

    def all(self, key: str) -> tuple[str, ...]:
        return tuple(value for name, value in self.pairs if name == key)

    def bool(self, key: str, default: bool) -> bool:
        return self.last.get(key, str(default).lower()) == "true"

    def number(self, key: str) -> int | None:
        value = self.last.get(key)
        if value is None:
            return None
        if not re.fullmatch(r"\d+", value):
            raise NvccError(f"Value '{value}' is not defined for option '--{key}': a whole number from 0 on")
        return int(value)


def build(line: CommandLine, environment: Mapping[str, str]) -> Invocation:
    """Gives a command line its meaning.

    Arguments:
        line: what :func:`leviathan_nvcc.cmdline.parse` found.
        environment: for ``LEVIATHAN_NVCC_REPORT_DIR``.
    Errors:
        NvccError: values out of their range, or options that exclude each other.
    """
    settings = _Settings(line)
    if settings.bool("relocatable-device-code", False):
        raise NvccError(
            "Option '--relocatable-device-code (-rdc)' is only supported as false: linking device code needs nvlink, "
            "which NVIDIA publishes in no wheel; put the device code of one kernel into one source file"
        )
    for key in _ONLY_FALSE:
        if settings.bool(key, False):
            raise NvccError(f"Option '--{key}' is only supported as false, its default: clang has no other way")
    mode = _mode(settings)
    device = _device(settings, mode)
    link_words = {"library-path": "-L", "library": "-l", "linker-options": "-Xlinker"}
    keep = settings.flag("keep") or settings.flag("keep-dir")
    return Invocation(
        mode=mode,
        inputs=line.inputs,
        output=settings.last.get("output-file"),
        folder=settings.last.get("output-directory"),
        language=settings.last.get("x"),
        device=device,
        source=_source(settings, line),
        dependencies=_dependencies(settings),
        link=Link(
            settings.flag("shared"),
            _words(settings, link_words) + (line.unknown if settings.flag(*_TO_LINKER) else ()),
            settings.last.get("cudart"),
            settings.last.get("compiler-bindir"),
        ),
        threads=settings.number("threads"),
        keep=settings.last.get("keep-dir", ".") if keep else None,
        report=settings.last.get("leviathan-report"),
        report_folder=environment.get("LEVIATHAN_NVCC_REPORT_DIR"),
        ptxas_info=settings.flag("resource-usage") or any(word in ("-v", "--verbose") for word in device.ptxas),
        verbose=settings.flag("verbose"),
        dryrun=settings.flag("dryrun"),
    )


def _mode(settings: _Settings) -> Mode:
    stops = [(key, mode) for key, mode in _STOPS.items() if settings.flag(key)]
    if len({mode for _, mode in stops}) > 1:
        raise NvccError(f"Options {' and '.join(f'--{key}' for key, _ in stops)} exclude each other: give one of them")
    return stops[0][1] if stops else Mode.LINK


def _device(settings: _Settings, mode: Mode) -> Device:
    gencode = [target for text in settings.all("generate-code") for target in archs.parse_gencode(text)]
    arch = settings.last.get("gpu-architecture")
    if arch is None and settings.flag("gpu-code"):
        raise NvccError("Option '--gpu-code (-code)' needs '--gpu-architecture (-arch)': add -arch=compute_120")
    if arch is not None or not gencode:
        gencode += archs.from_arch(arch, settings.all("gpu-code"))
    targets = tuple(sorted(set(gencode), key=lambda one: (one.real is None, one.arch, one.real or "")))
    reals, virtuals = [one for one in targets if one.real is not None], {one.arch for one in targets}
    if (mode is Mode.PTX and len(virtuals) > 1) or (mode is Mode.CUBIN and len(reals) != 1):
        name = mode.value[1:]
        found = " ".join(target.code for target in targets)
        raise NvccError(f"Option '--{name} (-{name})' makes one file of one architecture, but these are given: {found}")
    fast = settings.flag("use_fast_math")
    registers = settings.number("maxrregcount")
    return Device(
        targets=targets,
        debug=settings.flag("device-debug"),
        lineinfo=settings.flag("generate-line-info"),
        fast_math=fast,
        ftz=settings.bool("ftz", fast),
        prec_div=settings.bool("prec-div", not fast),
        prec_sqrt=settings.bool("prec-sqrt", not fast),
        fmad=settings.bool("fmad", True),
        ptxas=((f"-maxrregcount={registers}",) if registers is not None else ())
        + tuple(f"--entry={name}" for name in settings.all("entries"))
        + settings.all("ptxas-options"),
        compress="none" if settings.flag("no-compress") else settings.last.get("compress-mode", "default"),
    )


def _source(settings: _Settings, line: CommandLine) -> Source:
    werror: list[str] = []
    for kind in settings.all("Werror"):
        if kind not in _WERROR:
            raise NvccError(f"Value '{kind}' is not defined for option '--Werror': allowed are {', '.join(_WERROR)}")
        werror += [_WERROR[kind]] if _WERROR[kind] else []
    warnings = tuple(
        f"-{key}" for key in ("Wreorder", "Wconversion", "Wno-deprecated-declarations") if settings.flag(key)
    )
    limits = tuple(f"-{_CLANG[key]}={settings.number(key)}" for key in _CLANG if settings.flag(key))
    return Source(
        words=_words(settings, _WORDS)
        + (_AS_NVCC if any(PurePath(name).name == CMAKE_ID for name in line.inputs) else ()),
        std=settings.last.get("std"),
        host=warnings
        + limits
        + settings.all("compiler-options")
        + (line.unknown if settings.flag(*_TO_COMPILER) else ()),
        optimize=settings.last.get("optimize"),
        debug=settings.flag("debug"),
        quiet=settings.flag("disable-warnings"),
        default_stream=settings.last.get("default-stream", "legacy").replace("null", "legacy"),
        relaxed_constexpr=settings.flag("expt-relaxed-constexpr"),
        exceptions=not settings.flag("no-exceptions"),
        werror=tuple(werror),
    )


def _words(settings: _Settings, dashes: Mapping[str, str]) -> tuple[str, ...]:
    """Settings as the host compiler's words, in their order; a one-letter option keeps its value in the same word."""
    return tuple(
        word
        for key, value in settings.pairs
        if key in dashes
        for word in ((dashes[key] + value,) if len(dashes[key]) == 2 else (dashes[key], value))
    )


def _dependencies(settings: _Settings) -> Dependencies | None:
    system, own = (
        settings.flag(f"generate-{kind}", f"generate-{kind}-with-compile")
        for kind in ("dependencies", "nonsystem-dependencies")
    )
    if not system and not own:
        if settings.flag("dependency-output"):
            raise NvccError("Option '--dependency-output (-MF)' needs -M, -MM, -MD or -MMD")
        return None
    targets = settings.all("dependency-target-name")
    targets += tuple(make_quote(name) for name in settings.all("dependency-quoted-target-name"))
    phony = settings.flag("generate-dependency-targets")
    return Dependencies(system, settings.last.get("dependency-output"), targets, phony)
