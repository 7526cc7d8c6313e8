"""NVIDIA's fat binaries: which GPU architectures a container holds, read from its own headers.

NVIDIA does not document the format. What stands here was worked out on containers made by libnvfatbin 12.8.90 and
12.9.82 from cubins of ptxas 12.8.93 and 12.9.86:

- container, 16 bytes: magic 0xBA55ED50 (u32), version 1 (u16), header size 16 (u16), size of the entries (u64)
- entry, from its start: kind (u16: 1 PTX, 2 cubin, 8 LTO intermediate code), version 0x101 (u16), header size (u32),
  size of the padded payload (u64), compressed size (u32); at 28 the architecture's number, sm_90 = 90 (u32); at 40
  flags (u64)
- flags: 0x2000 payload is LZ4, 0x8000 payload is Zstandard, 0x100000 architecture-specific (the "a" of sm_90a),
  0x200000 family-specific (the "f" of sm_120f, CUDA 12.9 and newer)

So the suffix stands in the entry itself and no payload has to be unpacked to know it. A cubin's own ELF header says the
same, in one of two layouts by EI_ABIVERSION: 7 has the number in e_flags bits 0-7 and "a" in bit 11, 8 has the number
in bits 8-15 and "a" in bit 3 (LLVM's BinaryFormat/ELF.h, EF_CUDA_*, has both; below 90 the bit means something else);
neither marks "f". Where a payload is not compressed the two are compared here. Once all were: in five libraries of
torch 2.9.1+cu128 the entries and the headers of 15,521 unpacked cubins agreed without exception.

`cuobjdump --list-elf --list-ptx` 12.8 counts the same entries in the device-code sections of all of torch's CUDA
libraries. It does not look elsewhere, does not know "f", and prints an "a" for the bit that means something else.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from leviathan_image import elf

#: Magic, version and header size of a container in one: what a file is searched for.
SIGNATURE = struct.pack("<IHH", 0xBA55ED50, 1, 16)
_HEADER = 16
_ENTRY = 64
_ENTRY_VERSION = 0x101

_LZ4, _ZSTD = 0x2000, 0x8000
_ARCH_SPECIFIC, _FAMILY_SPECIFIC = 0x100000, 0x200000


class Code(IntEnum):
    """The kinds of payload whose architectures are known; the values are the format's."""

    PTX = 1
    CUBIN = 2
    LTO = 8


_PREFIX = {Code.PTX: "compute", Code.CUBIN: "sm", Code.LTO: "lto"}


class FatbinError(ValueError):
    """A container that cannot be read: says which field, at which offset."""


@dataclass(frozen=True, slots=True)
class Container:
    """One fat binary: `start` and `end` in the file in bytes, `archs` as nvcc names them (sm_90a, compute_90)."""

    start: int
    end: int
    archs: frozenset[str]


def read_container(data: elf.Bytes, start: int) -> Container:
    """The container whose signature is at `start`. Raises FatbinError on anything unknown, so that a new format fails
    the check instead of passing unseen.
    """
    (size,) = struct.unpack_from("<Q", data, start + 8) if start + _HEADER <= len(data) else (1 << 63,)
    end = start + _HEADER + size
    if end > len(data):
        raise FatbinError(f"the container at byte {start} ends beyond the file")
    return Container(start, end, frozenset(_entries(data, start + _HEADER, end)))


def _entries(data: elf.Bytes, place: int, end: int) -> Iterator[str]:
    while place < end:
        if place + _ENTRY > end:
            raise FatbinError(f"the entry at byte {place} is cut off")
        kind, version, header, size = struct.unpack_from("<HHIQ", data, place)
        (number,) = struct.unpack_from("<I", data, place + 28)
        (flags,) = struct.unpack_from("<Q", data, place + 40)
        if version != _ENTRY_VERSION or header < _ENTRY or kind not in set(Code):
            raise FatbinError(f"the entry at byte {place} has kind {kind}, version {version:#x}, header {header}")
        if place + header + size > end:
            raise FatbinError(f"the entry at byte {place} ends beyond its container")
        suffix = "a" if flags & _ARCH_SPECIFIC else "f" if flags & _FAMILY_SPECIFIC else ""
        arch = f"{_PREFIX[Code(kind)]}_{number}{suffix}"
        if kind == Code.CUBIN and not flags & (_LZ4 | _ZSTD):
            inside = cubin_arch(data, place + header)
            if inside != (f"sm_{number}" if suffix == "f" else arch):
                raise FatbinError(f"the entry at byte {place} says {arch}, the cubin in it {inside}")
        yield arch
        place += header + size


def cubin_arch(data: elf.Bytes, offset: int) -> str | None:
    """The architecture of the cubin at `offset` by its ELF header; None where there is no CUDA ELF file. Raises
    FatbinError on a CUDA ELF file of an unknown ABI.
    """
    header = elf.header(data, offset)
    if header is None or header.machine != elf.EM_CUDA:
        return None
    if header.abi_version == 7:
        return _cubin_name(header.flags & 0xFF, header.flags & 0x800)
    if header.abi_version == 8:
        return _cubin_name(header.flags >> 8 & 0xFF, header.flags & 0x8)
    raise FatbinError(f"the cubin at byte {offset} has the unknown ABI version {header.abi_version}")


def _cubin_name(number: int, accelerators: int) -> str:
    return f"sm_{number}{'a' if accelerators and number >= 90 else ''}"
