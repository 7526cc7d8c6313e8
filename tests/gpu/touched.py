"""Which 4 KiB pages of its libraries a process has touched: `touched.py OUT LIBRARY... -- PROGRAM [ARGUMENTS]`.

Runs a Python program in this process, then reads /proc/self/pagemap for every mapping of the named libraries and writes
OUT (JSON): library file name -> [first page, count] ranges of its file. The kernel maps 16 pages around a fault, so
the ranges are wider than what was strictly read. `blank.py` zeroes the rest.
"""

import json
import re
import runpy
import struct
import sys
from pathlib import Path

PAGE = 4096
PRESENT = 3 << 62  # "present" and "swapped", Documentation/admin-guide/mm/pagemap.rst
LINE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) \S+ \d+\s+(/.*)")


def touched(names: frozenset[str]) -> dict[str, list[tuple[int, int]]]:
    """File name -> ranges of touched pages (first page of the file, count), sorted and joined."""
    pages: dict[str, set[int]] = {}
    with Path("/proc/self/pagemap").open("rb") as pagemap:
        for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
            found = LINE.match(line)
            if found is None or Path(found[4]).name not in names:
                continue
            start, end, offset = (int(found[i], 16) for i in (1, 2, 3))
            pagemap.seek(start // PAGE * 8)
            words = struct.unpack(f"<{(end - start) // PAGE}Q", pagemap.read((end - start) // PAGE * 8))
            own = pages.setdefault(Path(found[4]).name, set())
            own.update(offset // PAGE + i for i, word in enumerate(words) if word & PRESENT)
    return {name: _ranges(sorted(own)) for name, own in pages.items()}


def _ranges(numbers: list[int]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for number in numbers:
        if out and out[-1][0] + out[-1][1] == number:
            out[-1] = (out[-1][0], out[-1][1] + 1)
        else:
            out.append((number, 1))
    return out


def main() -> None:
    """Runs the program, then writes the ranges, also when it ends with SystemExit 0."""
    cut = sys.argv.index("--")
    out, names, rest = sys.argv[1], frozenset(sys.argv[2:cut]), sys.argv[cut + 1 :]
    sys.argv = rest
    sys.path.insert(0, str(Path(rest[0]).parent))
    runpy.run_path(rest[0], run_name="__main__")
    Path(out).write_text(json.dumps(touched(names)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
