"""The GPU code in one file: every fat binary, bare cubin and PTX text, wherever in the file it lies."""

import mmap
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from leviathan_image import elf, fatbin
from leviathan_image.errors import ImageError

#: Sections that nvcc, clang and fatbinary put fat binaries into (clang's CGCUDANV.cpp names the first two).
SECTIONS = frozenset({".nv_fatbin", "__nv_relfatbin"})

_PTX_TARGET = re.compile(rb"^\s*\.target\s+sm_(\d+[af]?)\b", re.MULTILINE)
_SMALLEST = 64


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What a file holds: `archs` as nvcc names them (sm_90a a cubin, compute_90 PTX, lto_90 LTO code), `problems` that
    kept parts of it from being read.
    """

    archs: frozenset[str]
    problems: tuple[str, ...] = ()


def read_device_code(path: Path) -> DeviceCode:
    """The device code of the file at `path`.

    The whole file is searched: cuBLASLt, cuDNN and cuSPARSELt keep their newest kernels in a section of their own,
    cuFFT in `.ldata`, CUPTI as bare cubins among its data. What is compressed as a whole (a .zip) is not seen.
    Raises ImageError where the file cannot be read.
    """
    try:
        if path.stat().st_size < _SMALLEST:
            return DeviceCode(frozenset())
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data,
            memoryview(data) as view,
        ):
            return _read(path, data, view)
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}", "build the tree again") from error


def _read(path: Path, data: mmap.mmap, view: elf.Bytes) -> DeviceCode:
    containers: list[fatbin.Container] = []
    archs: set[str] = set()
    problems: list[str] = []
    place = data.find(fatbin.SIGNATURE)
    while place >= 0:
        try:
            containers.append(fatbin.read_container(view, place))
            archs |= containers[-1].archs
            place = data.find(fatbin.SIGNATURE, containers[-1].end)
        except fatbin.FatbinError as error:
            problems.append(str(error))
            place = data.find(fatbin.SIGNATURE, place + 1)
    archs.update(_bare_cubins(data, view, containers, problems))
    if path.suffix == ".ptx":
        archs.update(f"compute_{match[1].decode()}" for match in _PTX_TARGET.finditer(data))
    problems += _uncovered(view, containers)
    return DeviceCode(frozenset(archs), tuple(problems))


def _bare_cubins(
    data: mmap.mmap, view: elf.Bytes, containers: Sequence[fatbin.Container], problems: list[str]
) -> Iterator[str]:
    """Architectures of CUDA ELF files that no container holds. A file of its own (a .cubin) is one at byte 0."""
    inside = iter([*containers, fatbin.Container(len(data), len(data), frozenset())])
    container = next(inside)
    place = data.find(elf.MAGIC)
    while place >= 0:
        while place >= container.end:
            container = next(inside)
        if place >= container.start:
            place = container.end
        else:
            try:
                if arch := fatbin.cubin_arch(view, place):
                    yield arch
            except fatbin.FatbinError as error:
                problems.append(str(error))
            place += 1
        place = data.find(elf.MAGIC, place)


def _uncovered(view: elf.Bytes, containers: Sequence[fatbin.Container]) -> Iterator[str]:
    """Bytes of the device-code sections that belong to no container that was read, zero padding aside."""
    if elf.header(view) is None:
        return
    try:
        table = elf.sections(view)
    except ValueError as error:
        yield str(error)
        return
    for section in table:
        if section.name in SECTIONS:
            place, end = section.offset, section.offset + section.size
            gaps = 0
            for container in containers:
                if place <= container.start < end:
                    gaps += _nonzero(view[place : container.start])
                    place = container.end
            gaps += _nonzero(view[place:end]) if place < end else 0
            if gaps:
                yield f"{gaps:,} bytes of its section {section.name} are in no container that can be read"


def _nonzero(part: elf.Bytes) -> int:
    return len(part) - bytes(part).count(0)
