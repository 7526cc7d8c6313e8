"""Architectures: what each option form means, and what is refused in which words."""

import pytest

from leviathan_nvcc import archs
from leviathan_nvcc.errors import NvccError

GENCODE = [
    ("arch=compute_90a,code=sm_90a", ["sm_90a"]),
    ("arch=compute_90,code=[sm_90,compute_90]", ["sm_90", "compute_90"]),
    ('arch=compute_90,code="sm_90,compute_90"', ["sm_90", "compute_90"]),
    ("arch=compute_80,code=sm_86", ["sm_86"]),
    ("arch=compute_120,code=compute_120", ["compute_120"]),
    ("arch=compute_100, code=[ sm_100 ]", ["sm_100"]),
]


@pytest.mark.parametrize(("text", "codes"), GENCODE)
def test_gencode_names_its_targets(text: str, codes: list[str]) -> None:
    assert [target.code for target in archs.parse_gencode(text)] == codes


ARCH = [
    (None, (), ["sm_52", "compute_52"]),
    ("sm_90", (), ["sm_90", "compute_90"]),
    ("compute_90", (), ["compute_90"]),
    ("compute_90", ("sm_90", "compute_90"), ["sm_90", "compute_90"]),
    ("sm_120a", (), ["sm_120a", "compute_120a"]),
    ("all-major", (), ["sm_50", "sm_60", "sm_70", "sm_80", "sm_90", "sm_100", "sm_120", "compute_120"]),
]


@pytest.mark.parametrize(("arch", "codes", "wanted"), ARCH)
def test_arch_stands_for_cubin_and_ptx(arch: str | None, codes: tuple[str, ...], wanted: list[str]) -> None:
    assert [target.code for target in archs.from_arch(arch, codes)] == wanted


def test_all_is_every_plain_architecture_and_the_newest_ptx() -> None:
    targets = archs.from_arch("all", ())
    assert [target.real for target in targets[:-1]] == [name for name in archs.SUFFIXES if "a" not in name]
    assert targets[-1].code == "compute_120"


FACTS = [
    ("50", "sm_50", 500, ("__CUDA_ARCH__=500",), "sm_50", (0, 0)),
    ("89", "sm_89", 890, ("__CUDA_ARCH__=890",), "sm_89", (0, 0)),
    ("90a", "sm_90", 900, ("__CUDA_ARCH__=900", "__CUDA_ARCH_FEAT_SM90_ALL=1"), "sm_90a", (0, 0)),
    ("100", "sm_90", 1000, ("__CUDA_ARCH__=1000",), "sm_100", (8, 6)),
    ("101a", "sm_90", 1010, ("__CUDA_ARCH__=1010", "__CUDA_ARCH_FEAT_SM101_ALL=1"), "sm_101a", (8, 6)),
    ("120", "sm_90", 1200, ("__CUDA_ARCH__=1200",), "sm_120", (8, 7)),
]


@pytest.mark.parametrize(("suffix", "clang", "macro", "defines", "target", "isa"), FACTS)
def test_what_an_architecture_is_for_clang_and_ptx(
    suffix: str, clang: str, macro: int, defines: tuple[str, ...], target: str, isa: tuple[int, int]
) -> None:
    arch = archs.parse_arch(suffix)
    assert (arch.clang, arch.macro, arch.defines, arch.ptx_target, arch.ptx_isa) == (clang, macro, defines, target, isa)
    assert arch.suffix == suffix


REFUSED = [
    ("arch=compute_99,code=sm_99", "Unsupported gpu architecture 'compute_99' in --generate-code; did you mean "),
    ("arch=compute_90,code=sm_91", "Unsupported gpu architecture 'sm_91' in --generate-code; did you mean 'sm_90'?"),
    ("arch=sm_90,code=sm_90", "'sm_90' in --generate-code is a real architecture: arch= takes 'compute_90'"),
    ("arch=compute_90,code=sm_80", "Incompatible pair in --generate-code: code for 'sm_80' cannot be made from"),
    ("arch=compute_90a,code=sm_100", "Incompatible pair in --generate-code: code for 'sm_100' cannot be made from"),
    ("arch=compute_90,code=compute_80", "'code=compute_80' in --generate-code must be the PTX of its own arch"),
    ("arch=compute_90,code=lto_90", "'lto_90' in --generate-code is not supported: linking device code needs nvlink"),
    ("arch=native,code=sm_90", "'native' in --generate-code is not supported: a build must not depend on the machine"),
    ("sm_90", "'sm_90' is not a value of --generate-code: it reads arch=compute_90,code=[sm_90,compute_90]"),
    ("arch=compute_90", "'arch=compute_90' is not a value of --generate-code"),
]


@pytest.mark.parametrize(("text", "start"), REFUSED)
def test_a_wrong_gencode_is_named(text: str, start: str) -> None:
    with pytest.raises(NvccError) as caught:
        archs.parse_gencode(text)
    assert caught.value.message.startswith(start)
    assert "\n" not in caught.value.message


def test_an_unknown_architecture_lists_the_known_ones() -> None:
    with pytest.raises(NvccError) as caught:
        archs.from_arch("sm_99", ())
    assert caught.value.message.endswith(f"CUDA 12.8 has (compute_ or sm_): {' '.join(archs.SUFFIXES)}")


def test_native_is_refused_with_the_way_out() -> None:
    with pytest.raises(NvccError, match="name the architectures, for example -gencode=arch=compute_120,code=sm_120"):
        archs.from_arch("native", ())
