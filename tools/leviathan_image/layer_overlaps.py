"""What the layers hold together: a path that two layers write is either shared knowingly or a mistake."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from leviathan_image.errors import ImageError
from leviathan_image.findings import Finding
from leviathan_image.layer import Layer
from leviathan_image.tree import Kind


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a layer's `contents.tsv`; `owner` is mode, uid and gid as written, `layer` the layer's name."""

    layer: str
    kind: Kind
    owner: tuple[str, str, str]
    path: str


def read_contents(layer: Layer) -> list[Row]:
    """The paths of `layer`. Raises ImageError where its list is missing or damaged."""
    rows = []
    try:
        lines = layer.contents.read_text(encoding="utf-8").split("\n")[:-1]  # a path may hold other line ends
    except OSError as error:
        raise ImageError(f"cannot read {layer.contents}: {error.strerror}", "make the layer again") from error
    for number, line in enumerate(lines, 1):
        fields = line.split("\t")
        if len(fields) != 7 or fields[0] not in set(Kind):
            raise ImageError(f"{layer.contents} line {number} is not an entry", "make the layer again")
        kind, mode, uid, gid, _size, path, _target = fields
        rows.append(Row(layer.name, Kind(kind), (mode, uid, gid), path))
    return rows


def check_stack(layers: Sequence[Sequence[Row]], shadow: Sequence[str]) -> list[Finding]:
    """Findings where a layer's path disturbs a lower layer's.

    A folder in several layers is fine while mode and owner agree. A folder over a link or file (or the reverse) would
    replace it when the image is unpacked. A file over a file hides bytes that were shipped: allowed only where a glob
    of `shadow` (on the absolute path) says so; a glob that fits no such case is a finding too.
    """
    found: list[Finding] = []
    seen: dict[str, Row] = {}
    used: set[str] = set()
    for row in (row for layer in layers for row in layer):
        lower = seen.get(row.path)
        seen[row.path] = row
        if lower is None:
            continue
        where = f"/{row.path}"
        both = f"in layer {lower.layer} and in layer {row.layer}"
        if lower.kind is not row.kind and Kind.DIRECTORY in {lower.kind, row.kind}:
            names = f"{lower.kind.name.lower()} and {row.kind.name.lower()}"
            found.append(Finding("stack", where, f"{names} {both}: the upper one replaces the lower when unpacked"))
        elif row.kind is Kind.DIRECTORY:
            if row.owner != lower.owner:
                what = f"mode, uid, gid {' '.join(lower.owner)} and {' '.join(row.owner)} {both}"
                found.append(Finding("stack", where, what, "give both layers' modes tables the same entry"))
        elif globs := [glob for glob in shadow if fnmatchcase(where, glob)]:
            used.update(globs)
        else:
            found.append(Finding("stack", where, f"{both}", "ship it once, or allow it with --shadow"))
    for glob in sorted(set(shadow) - used):
        found.append(Finding("stack", glob, "this --shadow fits no path that two layers hold", "drop it"))
    return found
