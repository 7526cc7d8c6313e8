"""Zeroes every page of libraries that `touched.py` did not list: `blank.py ROOT TOUCHED.json REPORT.json`.

For libraries that are loaded because something names them, but of which a run uses next to nothing. A page that is
wanted after all ends the process (zeros are no code); it cannot give a wrong number silently in code that runs.
"""

import hashlib
import json
import sys
from pathlib import Path

PAGE = 4096


def blank(path: Path, keep: list[tuple[int, int]]) -> dict[str, object]:
    """Zeroes the file but for the ranges (first page, count); returns sizes in bytes and the sha256 sums."""
    data = path.read_bytes()
    out = bytearray(len(data))
    kept = 0
    for first, count in keep:
        piece = data[first * PAGE : (first + count) * PAGE]
        out[first * PAGE : first * PAGE + len(piece)] = piece
        kept += len(piece)
    path.write_bytes(out)
    sums = (hashlib.sha256(data).hexdigest(), hashlib.sha256(out).hexdigest())
    return {"size": len(data), "kept": kept, "before": sums[0], "after": sums[1]}


def main(root: Path, touched: Path, report: Path) -> None:
    """Blanks the libraries of the list, wherever below the root they lie."""
    done = {}
    for name, ranges in sorted(json.loads(touched.read_text(encoding="utf-8")).items()):
        for path in (found for found in root.rglob(name) if not found.is_symlink()):
            done["/" + str(path.relative_to(root))] = blank(path, ranges)
    report.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
