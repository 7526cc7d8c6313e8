"""Makes the image's root file system small enough to travel in pieces: `slim.py ROOT REPORT --arch 90 --arch 90a`.

Changes ROOT in place. In every file the payload of each fat binary entry that is for another architecture, or PTX, is
filled with zeros; headers stay, so the CUDA runtime still finds and skips those entries, and the kept machine code lies
where it lay, byte for byte. `--empty GLOB` zeroes all payloads of a file (a library that is linked but never called),
`--drop GLOB` removes files, `--whole GLOB` leaves a file alone. REPORT (JSON) says for every changed file how many
bytes were kept and zeroed, its sha256 before and after, and one digest over the kept payloads.
"""

import argparse
import hashlib
import json
import mmap
import struct
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from leviathan_image import fatbin

SMALLEST = 1 << 16
CUBIN = int(fatbin.Code.CUBIN)


@dataclass(frozen=True)
class Entry:
    """One entry of a fat binary: `arch` such as "90a" for machine code, "" for PTX; the payload's place and size."""

    arch: str
    place: int
    size: int


@dataclass(frozen=True)
class Slimmed:
    """What became of one file. Sizes in bytes; `digest` is the sha256 over all kept payloads in their order."""

    path: str
    size: int
    kept: int
    zeroed: int
    before: str
    after: str
    digest: str


def entries(data: mmap.mmap, container: fatbin.Container) -> Iterator[Entry]:
    """The entries of a container that `fatbin.read_container` has checked; see its module for the format."""
    place = container.start + 16
    while place < container.end:
        kind, _version, header, size = struct.unpack_from("<HHIQ", data, place)
        (number,) = struct.unpack_from("<I", data, place + 28)
        (flags,) = struct.unpack_from("<Q", data, place + 40)
        suffix = "a" if flags & 0x100000 else "f" if flags & 0x200000 else ""
        yield Entry(f"{number}{suffix}" if kind == CUBIN else "", place + header, size)
        place += header + size


def slim(path: Path, name: str, archs: frozenset[str]) -> Slimmed | None:
    """Zeroes what is not for `archs` in the file; None where it holds no device code."""
    if path.stat().st_size < SMALLEST:
        return None
    kept = zeroed = 0
    digest = hashlib.sha256()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        place = data.find(fatbin.SIGNATURE)
        if place < 0:
            return None
        before = hashlib.sha256(data).hexdigest()
        while place >= 0:
            with memoryview(data) as view:
                try:
                    container = fatbin.read_container(view, place)
                except fatbin.FatbinError:
                    container = None
            if container is None:
                place = data.find(fatbin.SIGNATURE, place + 1)
                continue
            for entry in entries(data, container):
                end = entry.place + entry.size
                if entry.arch in archs:
                    digest.update(data[entry.place : end])
                    kept += entry.size
                else:
                    data[entry.place : end] = bytes(entry.size)
                    zeroed += entry.size
            place = data.find(fatbin.SIGNATURE, container.end)
        after = hashlib.sha256(data).hexdigest()
        return Slimmed(name, len(data), kept, zeroed, before, after, digest.hexdigest())


def main() -> int:
    """Slims the tree; prints one line for each changed file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument("--arch", action="append", required=True)
    for flag in ("--empty", "--drop", "--whole"):
        parser.add_argument(flag, action="append", default=[], metavar="GLOB")
    args = parser.parse_args()
    done: list[Slimmed] = []
    dropped: dict[str, int] = {}
    for path in sorted(args.root.rglob("*")):
        name = "/" + str(path.relative_to(args.root))
        if not path.is_file() or path.is_symlink() or any(fnmatchcase(name, glob) for glob in args.whole):
            continue
        if any(fnmatchcase(name, glob) for glob in args.drop):
            dropped[name] = path.stat().st_size
            path.unlink()
            continue
        empty = any(fnmatchcase(name, glob) for glob in args.empty)
        changed = slim(path, name, frozenset() if empty else frozenset(args.arch))
        if changed is not None:
            done.append(changed)
            sys.stdout.write(f"{changed.kept / 1e6:8.1f} MB kept {changed.zeroed / 1e6:8.1f} MB zeroed  {name}\n")
    report = {"dropped": dropped, "slimmed": [asdict(one) for one in done]}
    args.report.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
