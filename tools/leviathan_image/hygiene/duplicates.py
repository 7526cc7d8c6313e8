"""Rule about libraries: none is in the image twice, by name or by content."""

import hashlib
import mmap
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from leviathan_image import elf
from leviathan_image.errors import ImageError
from leviathan_image.findings import Finding
from leviathan_image.hygiene.rules import Rule
from leviathan_image.tree import Entry, Kind

_VENDORED = re.compile(r"-[0-9a-f]{8}(?=[-.])")


@dataclass(frozen=True, slots=True)
class Library:
    """A shared library: where the image has it, its bytes' file, its size in bytes, and its SONAME without the hash
    that auditwheel puts into the name of a copied library (libgfortran-040039e1.so.5 → libgfortran.so.5).
    """

    where: str
    source: Path
    size: int
    soname: str


def libraries(entries: Iterable[Entry]) -> list[Library]:
    """The shared libraries among `entries`: ELF files of type DYN whose name has `.so`."""
    found = []
    for entry in entries:
        if entry.kind is Kind.FILE and entry.source is not None and ".so" in entry.path.rpartition("/")[2]:
            soname = _soname(entry.source)
            if soname is not None:
                name = _VENDORED.sub("", soname)
                found.append(Library(f"/{entry.path}", entry.source, entry.size, name))
    return found


def check(found: Iterable[Library]) -> list[Finding]:
    """One finding for each SONAME and each content that several of `found` share; its place is the library's name."""
    names: dict[str, list[Library]] = defaultdict(list)
    sizes: dict[int, list[Library]] = defaultdict(list)
    for library in found:
        sizes[library.size].append(library)
        if library.soname:
            names[library.soname].append(library)
    findings = [_finding(name, group, "the same SONAME") for name, group in names.items() if len(group) > 1]
    told = {frozenset(item.where for item in group) for group in names.values()}
    for group in sizes.values():
        contents: dict[str, list[Library]] = defaultdict(list)
        for library in group if len(group) > 1 else []:
            contents[_digest(library.source)].append(library)
        for same in contents.values():
            if len(same) > 1 and frozenset(item.where for item in same) not in told:
                name = same[0].soname or same[0].where.rpartition("/")[2]
                findings.append(_finding(name, same, "the same bytes"))
    return findings


def _finding(name: str, group: Iterable[Library], what: str) -> Finding:
    places = " and ".join(sorted(library.where for library in group))
    return Finding(Rule.DUPLICATE, name, f"{what} at {places}", "ship it once")


def _soname(path: Path) -> str | None:
    """Returns the SONAME, "" if there is none; None for a file that is not a shared library."""
    try:
        if path.stat().st_size < 64:
            return None
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data,
            memoryview(data) as view,
        ):
            header = elf.header(view)
            if header is None or header.kind != elf.ET_DYN:
                return None
            return elf.soname(view, elf.sections(view))
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}", "build the tree again") from error
    except ValueError as error:
        raise ImageError(f"{path} is a damaged ELF file: {error}", "fetch or build it again") from error


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
