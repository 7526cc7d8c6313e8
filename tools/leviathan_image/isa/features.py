"""One table: x86 features by clang's name, the macro that clang defines for them, and the extension of GNU `as`.

Macros: clang's lib/Basic/Targets/X86.cpp, getTargetDefines. Extensions: "EXTENSION is combination of" in `as --help`;
those that the assembler at hand does not list are left out of its -march.
"""

import re
from dataclasses import dataclass

_BASELINE = "8087 287 387 687 cmov fxsr mmx sse sse2 clflush nop syscall"

#: What every x86-64 CPU has: allowed without a macro, and never named as missing.
BASELINE = frozenset(_BASELINE.split())

# Features whose macro and extension follow from clang's name: amx-tile, __AMX_TILE__, amx_tile.
_REGULAR = """
    sse3 ssse3 sse4.1 sse4.2 sse4a avx avx2 f16c fma fma4 xop
    avx512f avx512cd avx512dq avx512bw avx512vl avx512ifma avx512vbmi
    aes pclmul sha gfni vaes vpclmulqdq kl widekl sha512 sm3 sm4
    adx bmi bmi2 tbm lwp lzcnt popcnt movbe rdrnd rdseed rdpid rdpru rtm
    xsave xsaveopt xsavec xsaves fsgsbase invpcid pconfig ptwrite serialize
    shstk hreset uintr waitpkg mwaitx enqcmd movdiri movdir64b tsxldtrk
    cldemote clflushopt clwb clzero wbnoinvd prfchw prefetchi cmpccxadd
    amx-tile amx-int8 amx-bf16 amx-fp16 amx-complex
"""


@dataclass(frozen=True, slots=True)
class Feature:
    """A feature: `name` as in clang's -m option, `macro` that a march with it defines, `gas` the extension's name."""

    name: str
    macro: str
    gas: str


def _regular(name: str) -> Feature:
    macro = name.upper().replace("-", "_").replace(".", "_")
    return Feature(name, f"__{macro}__", name.replace("-", "_"))


FEATURES = (
    *(_regular(name) for name in _REGULAR.split()),
    Feature("avx512vnni", "__AVX512VNNI__", "avx512_vnni"),
    Feature("avx512bf16", "__AVX512BF16__", "avx512_bf16"),
    Feature("avx512fp16", "__AVX512FP16__", "avx512_fp16"),
    Feature("avx512vbmi2", "__AVX512VBMI2__", "avx512_vbmi2"),
    Feature("avx512bitalg", "__AVX512BITALG__", "avx512_bitalg"),
    Feature("avx512vpopcntdq", "__AVX512VPOPCNTDQ__", "avx512_vpopcntdq"),
    Feature("avx512vp2intersect", "__AVX512VP2INTERSECT__", "avx512_vp2intersect"),
    Feature("avxvnni", "__AVXVNNI__", "avx_vnni"),
    Feature("avxvnniint8", "__AVXVNNIINT8__", "avx_vnni_int8"),
    Feature("avxvnniint16", "__AVXVNNIINT16__", "avx_vnni_int16"),
    Feature("avxifma", "__AVXIFMA__", "avx_ifma"),
    Feature("avxneconvert", "__AVXNECONVERT__", "avx_ne_convert"),
    Feature("cx16", "__GCC_HAVE_SYNC_COMPARE_AND_SWAP_16", "cx16"),
    Feature("sahf", "__LAHF_SAHF__", ""),
    Feature("pku", "__PKU__", "ospke"),
    Feature("sgx", "__SGX__", "se1"),
    Feature("raoint", "__RAOINT__", "rao_int"),
    Feature("usermsr", "__USERMSR__", "user_msr"),
    Feature("apx", "__APX_F__", "apx_f"),
)

#: Executed as no operation by a CPU that lacks their feature, and emitted for all: always allowed.
HARMLESS = re.compile(r"(?:endbr64|rdssp[dq])\b")

#: Instructions whose feature the assembler does not check (lahf, sahf), takes for part of another that real CPUs have
#: without it (rtm comes with its tsxldtrk), or does not know at all (binutils 2.40 and the newest).
BY_NAME = (
    (re.compile(r"[ls]ahf\b"), "sahf"),
    (re.compile(r"x(?:begin|end|abort|test)\b"), "rtm"),
    (re.compile(r"(?:\{vex\} )?vsha512"), "sha512"),
    (re.compile(r"(?:\{vex\} )?vsm3"), "sm3"),
    (re.compile(r"(?:\{vex\} )?vsm4"), "sm4"),
    (re.compile(r"(?:\{vex\} )?vpdpw[su]"), "avxvnniint16"),
    (re.compile(r"(?:\{vex\} )?tcmm"), "amx-complex"),
    (re.compile(r"u(?:rd|wr)msr\b"), "usermsr"),
    (re.compile(r"\{apx\} "), "apx"),
)


def by_name(text: str) -> str | None:
    """The feature of an instruction by its text alone, where BY_NAME has it."""
    return next((name for pattern, name in BY_NAME if pattern.match(text)), None)


def clang_name(gas: str) -> str:
    """clang's name for the extension `gas`; the extension's own where clang has none (vmx, 3dnow)."""
    return next((feature.name for feature in FEATURES if feature.gas == gas), gas)
