"""The `device-code` check: a file with GPU code carries exactly the wanted architectures, or is a known exception."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from leviathan_image import jsonfile
from leviathan_image.devicefile import DeviceCode, read_device_code
from leviathan_image.errors import ImageError
from leviathan_image.findings import Finding
from leviathan_image.tree import Kind, scan

_CHECK = "device-code"


@dataclass(frozen=True, slots=True)
class Exempt:
    """One exception: the files that fit `glob` (on the absolute path) carry exactly `carries`, for the reason `why`.
    With `spread` each file carries a part of it and all of them together the whole (a cache of one-kernel cubins).
    """

    glob: str
    carries: frozenset[str]
    why: str
    spread: bool = False


def read_exceptions(path: Path | None) -> list[Exempt]:
    """The table in `path`: `{glob: {"carries": ["sm_70", ...], "why": "...", "spread": false}}`. No file is an empty
    table. Raises ImageError that names the wrong key.
    """
    if path is None:
        return []
    found = []
    for glob, value in jsonfile.read_object(path).items():
        where = f"{path}: {glob}"
        if not isinstance(value, dict):
            raise ImageError(f"{where}: expected an object, got {value!r}", "correct the file")
        jsonfile.reject_unknown(where, value.keys(), ("carries", "why", "spread"))
        carries = jsonfile.strings(f"{where}: carries", value.get("carries"))
        spread = value.get("spread", False)
        if not carries or not isinstance(spread, bool):
            raise ImageError(f"{where} has an empty carries or a spread that is not true or false", "correct the file")
        found.append(Exempt(glob, frozenset(carries), jsonfile.string(f"{where}: why", value.get("why")), spread))
    return found


def judge(
    files: Mapping[str, DeviceCode], wanted: frozenset[str], exceptions: Sequence[Exempt], table: str
) -> list[Finding]:
    """Findings about `files` (absolute path → its device code): not exactly `wanted` and not listed, listed but
    carrying something else, unreadable parts, and exceptions that no file needs. `table` is the exceptions' file name.
    """
    found: list[Finding] = []
    spread: dict[str, set[str]] = {}
    used: set[str] = set()
    for path, code in sorted(files.items()):
        found += [Finding(_CHECK, path, problem, "this program must learn the format") for problem in code.problems]
        if not code.archs:
            continue
        exempt = next((item for item in exceptions if fnmatchcase(path, item.glob)), None)
        if exempt is None:
            if code.archs != wanted:
                found.append(Finding(_CHECK, path, _contrast(code.archs, wanted), f"rebuild it, or list it in {table}"))
            continue
        used.add(exempt.glob)
        if exempt.spread and code.archs <= exempt.carries:
            spread.setdefault(exempt.glob, set()).update(code.archs)
        elif code.archs != exempt.carries:
            what = f"listed as {exempt.glob}, but {_contrast(code.archs, exempt.carries)}"
            found.append(Finding(_CHECK, path, what, f"look why it changed, then correct {table}"))
    for exempt in exceptions:
        if exempt.glob not in used:
            what = "a stale exception: it is not the first match of any file with device code"
            found.append(Finding(_CHECK, exempt.glob, what, f"drop it from {table}"))
        elif exempt.spread and spread.get(exempt.glob, set()) != exempt.carries:
            what = f"together its files miss {_names(exempt.carries - spread.get(exempt.glob, set()))}"
            found.append(Finding(_CHECK, exempt.glob, what, f"look why it changed, then correct {table}"))
    return found


def check(
    trees: Iterable[Path], wanted: frozenset[str], exceptions: Sequence[Exempt], table: str
) -> tuple[list[Finding], list[str]]:
    """Read every file of `trees` and judge it. Returns the findings and the facts: which file carries what."""
    files: dict[str, DeviceCode] = {}
    count = 0
    for tree in trees:
        for entry in scan(tree):
            if entry.kind is Kind.FILE and entry.source is not None:
                count += 1
                code = read_device_code(entry.source)
                if code.archs or code.problems:
                    files[f"/{entry.path}"] = code
    facts = [f"{path}: {_names(code.archs)}" for path, code in sorted(files.items())]
    facts.append(f"{count} files read, {len(files)} with device code; wanted {_names(wanted)}")
    return judge(files, wanted, exceptions, table), facts


def _contrast(got: frozenset[str], wanted: frozenset[str]) -> str:
    """What `got` has too much and too little."""
    parts = [f"carries {_names(got)}"]
    if got - wanted:
        parts.append(f"not wanted: {_names(got - wanted)}")
    if wanted - got:
        parts.append(f"missing: {_names(wanted - got)}")
    return "; ".join(parts)


def _names(archs: Iterable[str]) -> str:
    """The architectures sorted by kind and number."""

    def key(arch: str) -> tuple[str, int, str]:
        kind, _, number = arch.partition("_")
        digits = number.rstrip("af")
        return (kind, int(digits) if digits.isdecimal() else 0, number)

    return " ".join(sorted(archs, key=key)) or "nothing"
