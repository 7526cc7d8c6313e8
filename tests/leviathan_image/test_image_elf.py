"""The ELF reader, on files made by the tests and on the interpreter that runs them."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from leviathan_image import elf

MakeElf = Callable[..., bytes]


def test_reads_sections_and_soname(make_elf: MakeElf) -> None:
    data = memoryview(make_elf({".text": b"\x90" * 5, ".nv_fatbin": b"12345678"}, soname="libx.so.1"))
    table = elf.sections(data)
    assert [section.name for section in table] == ["", ".text", ".nv_fatbin", ".dynstr", ".dynamic", ".shstrtab"]
    assert bytes(data[table[2].offset : table[2].offset + table[2].size]) == b"12345678"
    assert elf.soname(data, table) == "libx.so.1"


def test_no_soname_and_no_sections(make_elf: MakeElf) -> None:
    data = memoryview(make_elf({".text": b"\x90"}))
    assert elf.soname(data, elf.sections(data)) == ""
    bare = bytearray(data)
    bare[40:48] = bytes(8)
    assert elf.sections(memoryview(bytes(bare))) == []


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"#!/bin/sh\n" * 20, b"\x7fELF\x01\x01\x01" + bytes(100)])
def test_what_is_no_64_bit_elf_file(data: bytes) -> None:
    assert elf.header(memoryview(data)) is None


@pytest.mark.parametrize(
    ("place", "value"),
    [(40, (1 << 40).to_bytes(8, "little")), (58, b"\x20\x00"), (62, b"\xff\x00"), (60, b"\xff\xff")],
)
def test_a_damaged_section_table_is_an_error(make_elf: MakeElf, place: int, value: bytes) -> None:
    data = bytearray(make_elf({".text": b"\x90"}))
    data[place : place + len(value)] = value
    with pytest.raises(ValueError, match="damaged"):
        elf.sections(memoryview(bytes(data)))


def test_a_section_beyond_the_end_is_an_error(make_elf: MakeElf) -> None:
    data = bytearray(make_elf({".text": b"\x90"}))
    table = int.from_bytes(data[40:48], "little")
    data[table + 64 + 32 : table + 64 + 40] = (1 << 30).to_bytes(8, "little")
    with pytest.raises(ValueError, match="beyond its end"):
        elf.sections(memoryview(bytes(data)))


@pytest.mark.skipif(shutil.which("readelf") is None, reason="no readelf here")
def test_readelf_agrees_on_a_real_library() -> None:
    library = next(
        Path(line.split()[-1]) for line in Path("/proc/self/maps").read_text().splitlines() if "libc" in line
    )
    data = memoryview(library.read_bytes())
    listed = subprocess.run(["readelf", "-SW", str(library)], capture_output=True, text=True, check=True).stdout
    for section in elf.sections(data)[1:]:
        assert f" {section.name} " in listed
    dynamic = subprocess.run(["readelf", "-dW", str(library)], capture_output=True, text=True, check=True).stdout
    assert f"[{elf.soname(data, elf.sections(data))}]" in dynamic
    assert elf.header(data) is not None
    assert sys.byteorder == "little"
