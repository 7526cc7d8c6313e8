"""Fat binaries: real ones give what cuobjdump prints for them, made ones show that nothing unknown passes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from leviathan_image import fatbin

MakeFatbin = Callable[..., bytes]

_ALL = {"sm_90", "sm_90a", "sm_100", "sm_100a", "sm_120", "sm_120a", "compute_90"}


@pytest.mark.parametrize(
    ("name", "archs"),
    [
        ("plain-12.8", _ALL),
        ("lz4-12.8", _ALL),
        ("zstd-12.8", _ALL),
        ("wanted-12.8", {"sm_90a", "sm_100", "sm_120"}),
        # cuobjdump 12.8 knows no f and prints sm_100 and sm_120 for these.
        ("family-12.9", {"sm_100f", "sm_120f", "sm_103a", "compute_90a"}),
    ],
)
def test_real_containers(data: Path, name: str, archs: set[str]) -> None:
    content = memoryview((data / f"{name}.fatbin").read_bytes())
    container = fatbin.read_container(content, 0)
    assert container.archs == archs
    assert (container.start, container.end) == (0, len(content))


@pytest.mark.parametrize("arch", ["sm_90a", "sm_120"])
def test_real_cubins(data: Path, arch: str) -> None:
    content = (data / f"{arch}.cubin").read_bytes()
    assert fatbin.cubin_arch(memoryview(content), 0) == arch
    assert fatbin.cubin_arch(memoryview(b"12345678" + content), 8) == arch


def test_an_old_flag_is_no_suffix(make_elf: Callable[..., bytes]) -> None:
    def cubin(flags: int) -> str | None:
        content = bytearray(make_elf({}, machine=190, flags=flags))
        content[8] = 7
        return fatbin.cubin_arch(memoryview(bytes(content)), 0)

    assert cubin(0x3C0D3C) == "sm_60"
    assert cubin(0x5A0D5A) == "sm_90a"
    assert cubin(0x5A055A) == "sm_90"


def test_what_is_no_cubin(make_elf: Callable[..., bytes]) -> None:
    assert fatbin.cubin_arch(memoryview(make_elf({})), 0) is None
    assert fatbin.cubin_arch(memoryview(b"1234"), 0) is None


def test_an_unknown_abi_is_an_error(make_elf: Callable[..., bytes]) -> None:
    content = bytearray(make_elf({}, machine=190))
    content[8] = 9
    with pytest.raises(fatbin.FatbinError, match="unknown ABI version 9"):
        fatbin.cubin_arch(memoryview(bytes(content)), 0)


def test_made_containers_and_kinds(make_fatbin: MakeFatbin) -> None:
    content = make_fatbin([(1, 90, 0x2011, b"ptx"), (2, 120, 0x8011, b"zstd"), (8, 90, 0x102011, b"lto")])
    assert fatbin.read_container(memoryview(content), 0).archs == {"compute_90", "sm_120", "lto_90a"}


def test_an_empty_container_holds_nothing(make_fatbin: MakeFatbin) -> None:
    assert fatbin.read_container(memoryview(make_fatbin([])), 0).archs == set()


def test_an_entry_that_lies_about_its_cubin_is_an_error(data: Path, make_fatbin: MakeFatbin) -> None:
    cubin = (data / "sm_90a.cubin").read_bytes()
    honest = make_fatbin([(2, 90, 0x100011, cubin)])
    assert fatbin.read_container(memoryview(honest), 0).archs == {"sm_90a"}
    for number, flags in ((90, 0x11), (120, 0x100011)):
        with pytest.raises(fatbin.FatbinError, match="the cubin in it sm_90a"):
            fatbin.read_container(memoryview(make_fatbin([(2, number, flags, cubin)])), 0)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda make: make([(3, 90, 0x2011, b"")]), "kind 3"),
        (lambda make: make([(2, 90, 0x2011, b"")], version=0x102), "version 0x102"),
        (lambda make: make([(2, 90, 0x2011, b"x" * 64)])[:-8], "ends beyond the file"),
        (lambda make: make([])[:12], "ends beyond the file"),
        (lambda make: make([(2, 90, 0x2011, b"x")]) + b"", "none"),
    ],
)
def test_nothing_unknown_passes(make_fatbin: MakeFatbin, make: Callable[[MakeFatbin], bytes], named: str) -> None:
    content = memoryview(make(make_fatbin))
    if named == "none":
        assert fatbin.read_container(content, 0).archs == {"sm_90"}
    else:
        with pytest.raises(fatbin.FatbinError, match=named):
            fatbin.read_container(content, 0)


def test_an_entry_beyond_its_container_is_an_error(make_fatbin: MakeFatbin) -> None:
    content = bytearray(make_fatbin([(2, 90, 0x2011, b"x" * 8)]) + bytes(64))
    content[24:32] = (64).to_bytes(8, "little")
    with pytest.raises(fatbin.FatbinError, match="ends beyond its container"):
        fatbin.read_container(memoryview(bytes(content)), 0)
    content[8:16] = (100).to_bytes(8, "little")
    content[24:32] = (8).to_bytes(8, "little")
    with pytest.raises(fatbin.FatbinError, match="is cut off"):
        fatbin.read_container(memoryview(bytes(content)), 0)
