"""The little of ELF that the checks need: header, section names, the dynamic section's SONAME.

Format: System V ABI, "Object Files" and "Dynamic Linking"; 64-bit little-endian only, as everything in the image is.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAGIC = b"\x7fELF\x02\x01\x01"
EM_X86_64 = 62
EM_CUDA = 190

ET_DYN = 3
_SHT_DYNAMIC = 6
_SHT_NOBITS = 8
_DT_SONAME = 14

Bytes = memoryview


@dataclass(frozen=True, slots=True)
class Section:
    """One section: `name`, `kind` (sh_type), `offset` and `size` in the file in bytes, `link` (sh_link), `flags`."""

    name: str
    kind: int
    offset: int
    size: int
    link: int
    flags: int


@dataclass(frozen=True, slots=True)
class Header:
    """The file header: `kind` (e_type), `machine` (e_machine), `abi_version` (EI_ABIVERSION), `flags` (e_flags)."""

    kind: int
    machine: int
    abi_version: int
    flags: int


def header(data: Bytes, offset: int = 0) -> Header | None:
    """The ELF header at `offset` (bytes), None where there is none or it is cut off."""
    if bytes(data[offset : offset + len(MAGIC)]) != MAGIC or len(data) < offset + 64:
        return None
    kind, machine = struct.unpack_from("<HH", data, offset + 16)
    (flags,) = struct.unpack_from("<I", data, offset + 48)
    return Header(kind, machine, data[offset + 8], flags)


def sections(data: Bytes) -> list[Section]:
    """The section table of the ELF file `data`; empty where it has none. Raises ValueError on a damaged one."""
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count, names = struct.unpack_from("<HHH", data, 58)
    if not table or not count:
        return []
    if size != 64 or table + count * size > len(data) or names >= count:
        raise ValueError("its section table is damaged")
    raw = [struct.unpack_from("<IIQQQQII", data, table + number * size) for number in range(count)]
    strings = raw[names]
    found = []
    for name, kind, flags, _address, offset, length, link, _info in raw:
        if kind != _SHT_NOBITS and offset + length > len(data):
            raise ValueError("a section lies beyond its end")
        found.append(Section(_string(data, strings[4] + name), kind, offset, length, link, flags))
    return found


def soname(data: Bytes, table: Sequence[Section]) -> str:
    """The library's DT_SONAME, empty where it has none."""
    for section in table:
        if section.kind == _SHT_DYNAMIC and section.link < len(table):
            for tag, value in _pairs(data, section):
                if tag == _DT_SONAME:
                    return _string(data, table[section.link].offset + value)
    return ""


def _pairs(data: Bytes, section: Section) -> Iterator[tuple[int, int]]:
    for place in range(section.offset, section.offset + section.size - 15, 16):
        tag, value = struct.unpack_from("<QQ", data, place)
        if not tag:
            return
        yield tag, value


def _string(data: Bytes, offset: int) -> str:
    """The zero-terminated string at `offset`."""
    end = offset
    limit = min(len(data), offset + 4096)
    while end < limit and data[end]:
        end += 1
    return bytes(data[offset:end]).decode(errors="replace")
