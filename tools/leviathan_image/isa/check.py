"""The isa check as a whole: one file, one march, the findings by function."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from leviathan_image import jsonfile
from leviathan_image.errors import ImageError
from leviathan_image.findings import Finding
from leviathan_image.isa.assembler import Assembler
from leviathan_image.isa.disassembly import Disassembly, disassemble
from leviathan_image.isa.judge import beyond
from leviathan_image.isa.march import features_of


@dataclass(frozen=True, slots=True)
class Dispatched:
    """An exception: functions that fit `glob` are only called after a check for `features` at run time, since `why`."""

    glob: str
    features: frozenset[str]
    why: str


@dataclass(frozen=True, slots=True)
class Programs:
    """The names or paths of the three programs."""

    objdump: str = "llvm-objdump-19"
    clang: str = "clang-19"
    assembler: str = "as"


def read_exceptions(path: Path | None) -> list[Dispatched]:
    """The table in `path`: `{function glob: {"features": ["avx512f"], "why": "..."}}`; no file is an empty table."""
    found = []
    for glob, value in (jsonfile.read_object(path) if path else {}).items():
        where = f"{path}: {glob}"
        if not isinstance(value, dict):
            raise ImageError(f"{where}: expected an object, got {value!r}", "correct the file")
        jsonfile.reject_unknown(where, value.keys(), ("features", "why"))
        features = jsonfile.strings(f"{where}: features", value.get("features"))
        found.append(Dispatched(glob, frozenset(features), jsonfile.string(f"{where}: why", value.get("why"))))
    return found


def check_file(
    path: Path, march: str, exceptions: Sequence[Dispatched], programs: Programs
) -> tuple[list[Finding], list[str]]:
    """Findings about the ELF file at `path`, which was built for `march`, and the facts."""
    allowed = features_of(march, programs.clang)
    code = disassemble(path, programs.objdump)
    found = beyond(list(code.places), allowed, Assembler(programs.assembler))
    facts = [f"{path.name}: {code.count:,} instructions, {len(code.places):,} distinct, checked for {march}"]
    findings = judge(path.name, march, code, found, exceptions)
    if not code.count:
        findings.append(Finding("isa", path.name, "has no instructions", "give the built library"))
    return findings, facts


def judge(
    name: str,
    march: str,
    code: Disassembly,
    found: dict[str, tuple[str, ...]],
    exceptions: Sequence[Dispatched],
) -> list[Finding]:
    """One finding for each function and set of features in it that `march` lacks, and for each stale exception."""
    by_function: dict[tuple[str, tuple[str, ...]], tuple[int, str, int]] = {}
    used: set[str] = set()
    for text, needs in found.items():
        for function, address in code.places[text].items():
            exempt = [
                item for item in exceptions if fnmatchcase(function, item.glob) and item.features.issuperset(needs)
            ]
            used.update(item.glob for item in exempt)
            if not exempt:
                known = by_function.get((function, needs), (address, text, 0))
                first = min((address, text), known[:2])
                by_function[function, needs] = (*first, known[2] + 1)
    findings = []
    for (function, needs), (address, text, count) in by_function.items():
        more = f" and {count - 1} other kinds" if count > 1 else ""
        what = f"{address:#x}: {' '.join(text.split())}{more} needs {' '.join(needs)}, which {march} lacks"
        findings.append(Finding("isa", f"{name}: {function}", what, "build it only for its march"))
    for item in exceptions:
        if item.glob not in used:
            what = "a stale exception: no function needs it"
            findings.append(Finding("isa", f"{name}: {item.glob}", what, "drop it"))
    return findings
