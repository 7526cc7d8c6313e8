"""Which build of cpuinfer_ext a CPU gets, and that march.json asks for every flag that the compiler may rely on."""

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

RECIPE = Path(__file__).resolve().parent.parent.parent / "nix" / "ktransformers"
pytestmark = pytest.mark.skipif(not RECIPE.is_dir(), reason="runs in the repository")

# Names of /proc/cpuinfo that differ from the compiler's macro, __NAME__ in capitals.
SPELLINGS = {
    "avx512_bf16": "AVX512BF16",
    "avx512_bitalg": "AVX512BITALG",
    "avx512_fp16": "AVX512FP16",
    "avx512_vbmi2": "AVX512VBMI2",
    "avx512_vnni": "AVX512VNNI",
    "avx512_vp2intersect": "AVX512VP2INTERSECT",
    "avx512_vpopcntdq": "AVX512VPOPCNTDQ",
    "avx_vnni": "AVXVNNI",
    "abm": "LZCNT",
    "bmi1": "BMI",
    "cx16": "GCC_HAVE_SYNC_COMPARE_AND_SWAP_16",
    "lahf_lm": "LAHF_SAHF",
    "pclmulqdq": "PCLMUL",
    "pni": "SSE3",
    "sha_ni": "SHA",
}

# Sets that a compiler never emits unasked and that virtual machines hide; and what every x86-64 CPU has.
# fmt: off
NOT_ASKED_FOR = {
    "AMX_BF16", "AMX_INT8", "AMX_TILE", "CLDEMOTE", "CLFLUSHOPT", "CLWB", "CLZERO", "CRC32", "ENQCMD",
    "FSGSBASE", "FXSR", "INVPCID", "MMX", "MOVDIR64B", "MOVDIRI", "MWAITX", "PCONFIG", "PKU", "PREFETCHI",
    "PRFCHW", "PTWRITE", "RDPID", "RDPRU", "RDRND", "RDSEED", "SERIALIZE", "SGX", "SHSTK", "SSE", "SSE2",
    "SSE2_MATH", "SSE_MATH", "TSXLDTRK", "UINTR", "WAITPKG", "WBNOINVD", "XSAVEC", "XSAVEOPT", "XSAVES",
}
# fmt: on


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("cpuinfer_shim", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def shim() -> ModuleType:
    """The loader under another name than cpuinfer_ext, so that it defines its functions and loads nothing."""
    return load(RECIPE / "python" / "cpuinfer_ext.py")


@pytest.fixture(scope="module")
def table() -> dict[str, list[str]]:
    """Every entry of march.json with the flags of its ancestors."""
    raw = json.loads((RECIPE / "march.json").read_text(encoding="utf-8"))
    return {name: sorted(flags_of(raw, name)) for name in raw}


def flags_of(raw: dict[str, dict[str, object]], name: str) -> set[str]:
    adds = raw[name]["adds"]
    assert isinstance(adds, list)
    parent = raw[name].get("from")
    return set(adds) | (flags_of(raw, str(parent)) if parent else set())


def test_best_that_fits(shim: ModuleType, table: dict[str, list[str]]) -> None:
    listed = ("znver5", "znver4", "sapphirerapids", "icelake-server", "x86-64-v4", "x86-64-v3")
    builds = {name: table[name] for name in listed}
    for name in builds:
        assert shim.choose(builds, frozenset(table[name])) == name
    assert shim.choose(builds, frozenset(table["znver3"])) == "x86-64-v3"


def test_order_decides(shim: ModuleType, table: dict[str, list[str]]) -> None:
    """The settings say "best first"; nothing else does."""
    builds = {name: table[name] for name in ("x86-64-v3", "znver4")}
    assert shim.choose(builds, frozenset(table["znver4"])) == "x86-64-v3"


def test_forced(shim: ModuleType, table: dict[str, list[str]]) -> None:
    builds = {name: table[name] for name in ("znver4", "x86-64-v3")}
    have = frozenset(table["znver4"])
    assert shim.choose(builds, have, "x86-64-v3") == "x86-64-v3"
    with pytest.raises(ImportError, match="LEVIATHAN_MARCH=znver5: this image has znver4, x86-64-v3"):
        shim.choose(builds, have, "znver5")
    with pytest.raises(ImportError, match=r"znver4 needs .*avx512f.*: unset LEVIATHAN_MARCH"):
        shim.choose(builds, frozenset(table["x86-64-v3"]), "znver4")


def test_nothing_fits(shim: ModuleType, table: dict[str, list[str]]) -> None:
    """The message names what is missing, for each build."""
    builds = {name: table[name] for name in ("znver4", "x86-64-v3")}
    with pytest.raises(ImportError, match=r"znver4 needs .*avx512_bf16.*; x86-64-v3 needs abm avx avx2 .*settings"):
        shim.choose(builds, frozenset(table["x86-64-v2"]))


def test_cpu_flags(shim: ModuleType) -> None:
    assert shim.cpu_flags("processor : 0\nflags\t\t: fpu avx2 fma\nbugs : x\n") == {"fpu", "avx2", "fma"}
    assert shim.cpu_flags("processor : 0\n") == frozenset()


@pytest.mark.skipif(shutil.which("clang-19") is None, reason="needs clang-19")
@pytest.mark.parametrize("name", sorted(json.loads((RECIPE / "march.json").read_text())) if RECIPE.is_dir() else [])
def test_table_is_the_compilers(table: dict[str, list[str]], name: str) -> None:
    """Every instruction set that clang turns on for the entry is asked for, or listed above; and no other is."""
    argv = ["clang-19", f"-march={name}", "-dM", "-E", "-x", "c", "/dev/null"]
    macros = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
    plain = subprocess.run(
        ["clang-19", "-march=x86-64", *argv[2:]], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    turned_on = {line.split()[1].strip("_") for line in set(macros.splitlines()) - set(plain.splitlines())}
    asked = {SPELLINGS.get(flag, flag.upper()) for flag in table[name]}
    assert not asked - turned_on
    sets = {macro for macro in turned_on - asked - NOT_ASKED_FOR if macro.isupper() or macro.endswith("SWAP_16")}
    assert not {macro for macro in sets if not macro.startswith(("EVEX", "ZNVER", "znver", "tune", "corei7"))}
