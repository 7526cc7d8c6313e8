"""Compiles and checks a function for each x86 feature of clang 19: every feature is named, none is superfluous."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from leviathan_image.errors import ImageError, ToolError
from leviathan_image.findings import Finding
from leviathan_image.isa.assembler import Assembler
from leviathan_image.isa.check import Dispatched, Programs, check_file
from leviathan_image.isa.features import FEATURES
from leviathan_image.isa.march import features_of

_PROGRAMS = Programs()
pytestmark = pytest.mark.skipif(
    any(shutil.which(name) is None for name in (_PROGRAMS.objdump, _PROGRAMS.clang, _PROGRAMS.assembler)),
    reason="no clang-19, llvm-objdump-19 or as here",
)

_SAMPLES = Path(__file__).parent / "samples.c"
_FUNCTION = re.compile(r"\bf_\w+(?=\()")
_NEEDS = re.compile(r"needs (.*), which")

#: Functions whose name is not the feature that the check names.
_NAMED = {
    "f_crc32": {"sse4.2"},  # the assembler, like Intel's manual, has crc32 in SSE4.2
    "f_avx512vnni_vl": {"avx512vnni", "avx512vl"},
    "f_avx512bf16_vl": {"avx512bf16", "avx512vl"},
    "f_evex_hidden": {"avx512vl"},
    **{f"f_{part}": {"apx"} for part in ("egpr", "ndd", "nf", "zu", "ccmp", "cf", "push2pop2", "ppx")},
}

# What LLVM 19 lists as a feature and is none: modes, sets of others, how fast something is, what to prefer.
_NO_INSTRUCTION = """
    16bit-mode 32bit-mode 64bit 64bit-mode avx10.1-256 avx10.1-512 cmov cx8 evex512 fxsr mmx nopl soft-float sse sse2
    x87 allow-light-256-bit branch-hint branchfusion
    ermsb fsrm harden-sls-ijmp harden-sls-ret idivl-to-divb idivq-to-divl
    inline-asm-use-gpr32 lea-sp lea-uses-ag lvi-cfi lvi-load-hardening macrofusion pad-short-functions retpoline
    retpoline-external-thunk retpoline-indirect-branches retpoline-indirect-calls sbb-dep-breaking seses
    sse-unaligned-mem tagged-globals vzeroupper
"""
_TUNING = ("false-deps-", "fast-", "faster-", "slow-", "prefer-", "no-bypass-delay", "use-", "tuning-")


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samples as an object file."""
    out = tmp_path_factory.mktemp("isa") / "samples.o"
    subprocess.run([_PROGRAMS.clang, "-O2", "-w", "-c", str(_SAMPLES), "-o", str(out)], check=True)
    return out


def _expected(function: str) -> set[str]:
    """The features of a sample by its name: f_avx512vnni, f_sse4_1, f_amx_tile."""
    name = function.removeprefix("f_")
    names = {feature.name for feature in FEATURES}
    return _NAMED.get(function) or {
        next(one for one in (name.replace("_", "."), name.replace("_", "-")) if one in names)
    }


def _found(findings: list[Finding]) -> dict[str, set[str]]:
    """Function → all features that findings about it name."""
    found: dict[str, set[str]] = {}
    for finding in findings:
        match = _NEEDS.search(finding.what)
        assert match is not None
        found.setdefault(finding.where.rpartition(" ")[2], set()).update(match[1].split())
    return found


def _functions() -> set[str]:
    return {name for name in _FUNCTION.findall(_SAMPLES.read_text()) if not name.startswith("f_base")}


def test_every_feature_is_named_beyond_the_baseline(compiled: Path) -> None:
    findings, facts = check_file(compiled, "x86-64", [], _PROGRAMS)
    found = _found(findings)
    assert found.keys() == _functions()
    assert {name for name, features in found.items() if not _expected(name) <= features} == set()
    assert not any("unknown" in finding.what for finding in findings)
    assert re.fullmatch(r"samples\.o: \d{3} instructions, \d+ distinct, checked for x86-64", facts[0])


@pytest.mark.parametrize(
    "march", ["x86-64-v2", "x86-64-v3", "x86-64-v4", "skylake-avx512", "sapphirerapids", "znver4", "znver5"]
)
def test_a_march_allows_its_own_features_and_no_other(compiled: Path, march: str) -> None:
    allowed = features_of(march, _PROGRAMS.clang)
    findings, _ = check_file(compiled, march, [], _PROGRAMS)
    assert _found(findings).keys() == {name for name in _functions() if not _expected(name) <= allowed}
    for name, features in _found(findings).items():
        assert _expected(name) - allowed <= features
        assert not features & allowed


def test_clang_has_no_feature_without_a_sample() -> None:
    if shutil.which("llc-19") is None:
        pytest.skip("no llc-19 here")
    listed = subprocess.run(["llc-19", "-march=x86-64", "-mattr=help"], capture_output=True, text=True, check=True)
    text = (listed.stdout + listed.stderr).partition("Available features")[2]
    features = {name for name in re.findall(r"^  (\S+)\s+- ", text, re.MULTILINE) if not name.startswith(_TUNING)}
    sampled = {name.removeprefix("f_").replace("_", "-") for name in _functions()}
    sampled |= {name.replace("-", ".") for name in sampled}
    assert len(features) > 120
    assert features - sampled - set(_NO_INSTRUCTION.split()) == set()


def test_what_clang_compiles_for_a_march_is_clean_for_it_and_not_below(tmp_path: Path) -> None:
    source = tmp_path / "dot.c"
    source.write_text(
        "int dot(const signed char *a, const unsigned char *b, int n)"
        "{ int s = 0; for (int i = 0; i < n; i++) s += a[i] * b[i]; return s; }\n"
    )
    for march, below in (("x86-64-v3", "x86-64-v2"), ("znver4", "x86-64-v3"), ("sapphirerapids", "x86-64-v3")):
        library = tmp_path / f"{march}.so"
        argv = [_PROGRAMS.clang, "-O3", f"-march={march}", "-shared", "-fPIC", "-nostdlib", "-fuse-ld=bfd"]
        subprocess.run([*argv, str(source), "-o", str(library)], check=True)
        assert check_file(library, march, [], _PROGRAMS)[0] == []
        assert _found(check_file(library, below, [], _PROGRAMS)[0]).keys() == {"dot"}


def test_a_stripped_library_is_judged_too(compiled: Path, tmp_path: Path) -> None:
    if shutil.which("strip") is None:
        pytest.skip("no strip here")
    stripped = tmp_path / "stripped.o"
    subprocess.run(["strip", "-s", "-o", str(stripped), str(compiled)], check=True)
    findings, _ = check_file(stripped, "znver4", [], _PROGRAMS)
    assert {"avx512fp16", "amx-tile"} <= set().union(*_found(findings).values())


def test_exceptions_cover_what_they_name_and_go_stale(compiled: Path) -> None:
    def run(*exceptions: Dispatched) -> set[str]:
        return {f.where for f in check_file(compiled, "znver5", exceptions, _PROGRAMS)[0] if "amx" in f.where + f.what}

    everything = run()
    assert everything == {f"samples.o: f_amx_{part}" for part in ("tile", "int8", "bf16", "fp16", "complex")}
    covered = Dispatched("f_amx_*", frozenset({"amx-tile", "amx-int8", "amx-bf16"}), "asks the CPU first")
    assert run(covered) == {"samples.o: f_amx_fp16", "samples.o: f_amx_complex"}
    assert "samples.o: f_gone_amx" in run(Dispatched("f_gone_amx", frozenset({"amx-tile"}), "asks the CPU first"))


def test_a_file_without_code_does_not_pass(tmp_path: Path) -> None:
    source = tmp_path / "data.c"
    source.write_text("int only_data = 1;\n")
    out = tmp_path / "data.o"
    subprocess.run([_PROGRAMS.clang, "-c", str(source), "-o", str(out)], check=True)
    (finding,) = check_file(out, "znver4", [], _PROGRAMS)[0]
    assert "has no instructions" in finding.what


def test_bytes_that_are_no_instruction_are_found(tmp_path: Path) -> None:
    source = tmp_path / "bad.s"
    source.write_text(".globl bad\nbad:\n .byte 0x62, 0xf1, 0x0c, 0x08, 0xff, 0xff, 0xff\n ret\n")
    out = tmp_path / "bad.o"
    subprocess.run([_PROGRAMS.clang, "-c", str(source), "-o", str(out)], check=True)
    assert any("unknown" in finding.what for finding in check_file(out, "znver5", [], _PROGRAMS)[0])


def test_an_unknown_march_names_the_known_ones() -> None:
    with pytest.raises(ImageError, match=r"does not know the march 'znver99': known are .*znver5"):
        features_of("znver99", _PROGRAMS.clang)


def test_an_assembler_that_breaks_is_an_error() -> None:
    with pytest.raises(ToolError, match="ended with status"):
        Assembler(_PROGRAMS.assembler).refused(["nop"], ["no_such_extension"])
