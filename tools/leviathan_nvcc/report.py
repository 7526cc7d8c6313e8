"""What ptxas says of each kernel: registers, stack, spills, shared memory; and the check that holds them.

``ptxas -v`` prints, for each entry function, its name and architecture, its stack frame and spills in bytes, and the
registers and shared memory of a thread and block. A frame that spills explain is the price of 255 registers a thread;
one beyond them is a local array or a call that the compiler left: slow, and in Marlin wrong (*misaligned address*).

    python3 -m leviathan_nvcc.report check [--arrays BYTES] [--spills BYTES] REPORT_OR_FOLDER...
    python3 -m leviathan_nvcc.report show REPORT_OR_FOLDER...
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

ARRAYS = 16
"""Bytes of stack that spills need not explain: ptxas rounds a frame up, and a spilled predicate shares a word."""

SPILLS = 800
"""Bytes of spill stores a kernel may have. Of Marlin's 1203 the worst is 780, an act-order kernel for sm_120."""

_PARTS = re.compile(
    r"Compiling entry function '(?P<kernel>[^']+)' for '(?P<arch>[^']+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads\s+"
    r"ptxas info\s*: Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)
_SHARED = re.compile(r"(\d+) bytes smem")


@dataclass(frozen=True)
class Kernel:
    """One kernel of one architecture. Sizes in bytes: stack and spills a thread, shared a block (static only)."""

    kernel: str
    arch: str
    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int

    @property
    def arrays(self) -> int:
        """Bytes of the stack frame that spills do not explain."""
        return max(0, self.stack - self.spill_stores)


class ReportError(Exception):
    """A report that is not there or does not read, in one line."""


def parse(text: str) -> tuple[Kernel, ...]:
    """Reads the output of ``ptxas -v``."""
    found = []
    for match in _PARTS.finditer(text):
        shared = _SHARED.search(match["rest"])
        found.append(
            Kernel(
                match["kernel"],
                match["arch"],
                int(match["registers"]),
                int(match["stack"]),
                int(match["stores"]),
                int(match["loads"]),
                int(shared[1]) if shared else 0,
            )
        )
    return tuple(found)


def messages(text: str) -> str:
    """The output of ``ptxas -v`` without its statistics: what a user has to see."""
    kept = [
        line
        for line in text.splitlines()
        if not line.startswith("ptxas info") and not re.match(r"\s+\d+ bytes stack frame", line)
    ]
    return "".join(f"{line}\n" for line in kept)


def render(name: str, kernels: Sequence[Kernel]) -> str:
    """The JSON report of an object; sorted, so that equal builds give equal bytes."""
    rows = sorted(kernels, key=lambda one: (one.arch, one.kernel))
    return json.dumps({"object": name, "kernels": [asdict(row) for row in rows]}, indent=1) + "\n"


def load(paths: Sequence[Path]) -> Iterator[tuple[str, Kernel]]:
    """Reads reports, or all ``*.json`` of folders: (object, kernel).

    Errors:
        ReportError: nothing there, or not a report.
    """
    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    if not files:
        raise ReportError(f"{' '.join(map(str, paths))}: no report; compile with LEVIATHAN_NVCC_REPORT_DIR set")
    names = {field.name for field in fields(Kernel)}
    for file in files:
        try:
            data = json.loads(file.read_text())
            for row in data["kernels"]:
                yield data["object"], Kernel(**{key: row[key] for key in names})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ReportError(f"{file}: not a report of leviathan_nvcc ({error}); compile it again") from None


def failures(rows: Sequence[tuple[str, Kernel]], arrays: int, spills: int) -> list[str]:
    """One line for each kernel over a limit, the worst first."""
    over = [(name, one) for name, one in rows if one.arrays > arrays or one.spill_stores > spills]
    over.sort(key=lambda pair: (-pair[1].arrays, -pair[1].spill_stores, pair[1].arch, pair[1].kernel))
    return [
        f"{name}: {one.kernel} for {one.arch}: {one.stack} bytes of stack, {one.spill_stores} of them spills "
        f"(limits: {arrays} bytes without spills, {spills} of spills)"
        for name, one in over
    ]


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python3 -m leviathan_nvcc.report", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="fail if a kernel has more stack than the limits")
    check.add_argument("--arrays", type=int, default=ARRAYS, metavar="BYTES", help="stack that is not spills")
    check.add_argument("--spills", type=int, default=SPILLS, metavar="BYTES", help="spill stores")
    show = commands.add_parser("show", help="print a table")
    for one in (check, show):
        one.add_argument("reports", nargs="+", type=Path)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """The command line; 0 if the check holds, 1 if it fails or a report does not read."""
    arguments = _arguments(words)
    try:
        rows = list(load(arguments.reports))
    except ReportError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if arguments.command == "show":
        sys.stdout.write("arch registers stack stores loads shared kernel\n")
        sys.stdout.writelines(
            f"{one.arch} {one.registers} {one.stack} {one.spill_stores} {one.spill_loads} {one.shared} {one.kernel}\n"
            for _, one in rows
        )
        return 0
    if not rows:
        sys.stderr.write("the reports name no kernel: nothing was checked\n")
        return 1
    lines = failures(rows, arguments.arrays, arguments.spills)
    sys.stderr.writelines(f"{line}\n" for line in lines)
    worst = max(one.spill_stores for _, one in rows)
    sys.stdout.write(f"{len(rows)} kernels, {len(lines)} over the limits, most spills {worst} bytes\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
