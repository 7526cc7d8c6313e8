"""Debian's package lists: the fields of `Packages` that a lock keeps (deb822, Debian repository format)."""

from collections.abc import Iterable
from dataclasses import dataclass

from leviathan_fetch.errors import FetchError

FIELDS = ("Package", "Version", "Architecture", "Filename", "Size", "SHA256")


@dataclass(frozen=True)
class Binary:
    """One binary package of a suite; `size` in bytes, `filename` below the mirror's address."""

    package: str
    version: str
    architecture: str
    suite: str
    filename: str
    sha256: str
    size: int


def parse(text: str, suite: str, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], Binary]:
    """(package, version) → its record, for those in `wanted` that the list `text` of `suite` has."""
    names = {name for name, _ in wanted}
    found = {}
    for paragraph in text.split("\n\n"):
        # Nearly all of the 60,000 paragraphs are of no interest: look at the first field before taking all apart.
        start = paragraph.lstrip("\n")
        if not start.startswith("Package: ") or start[9:].split("\n", 1)[0] not in names:
            continue
        fields = dict(line.split(": ", 1) for line in start.splitlines() if line.split(":", 1)[0] in FIELDS)
        key = (fields["Package"], fields["Version"])
        if key in wanted and len(fields) == len(FIELDS):
            found[key] = Binary(
                key[0], key[1], fields["Architecture"], suite, fields["Filename"], fields["SHA256"], int(fields["Size"])
            )
    return found


def find(lists: Iterable[tuple[str, str]], wanted: set[tuple[str, str]]) -> dict[str, Binary]:
    """Returns package → record for each (package, version) in `wanted`, from (suite, text) `lists`; first suite wins.

    Errors: FetchError if one is missing in all lists, or if a package is wanted in two versions.
    """
    found: dict[tuple[str, str], Binary] = {}
    for suite, text in lists:
        for key, binary in parse(text, suite, wanted).items():
            found.setdefault(key, binary)
    missing = sorted("=".join(key) for key in wanted - found.keys())
    if missing:
        raise FetchError(f"no package list has {', '.join(missing)}", "make lock, when the mirror is complete again")
    by_name: dict[str, Binary] = {}
    for key in sorted(found):
        other = by_name.setdefault(key[0], found[key])
        if other.version != key[1]:
            raise FetchError(f"{key[0]} would be locked in two versions, {other.version} and {key[1]}")
    return by_name
