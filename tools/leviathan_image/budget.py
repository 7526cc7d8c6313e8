"""How large the image may be: a limit for each layer and for all, and a reason for every file over 50 MB."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from leviathan_image import jsonfile
from leviathan_image.errors import ImageError
from leviathan_image.findings import Finding
from leviathan_image.layer import Layer


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits in bytes of compressed layer: `total` and one a layer name; `big_files`, glob on the absolute path →
    why the image needs that file.
    """

    total: int
    layers: Mapping[str, int]
    big_files: Mapping[str, str]
    source: str


def read_budget(path: Path) -> Budget:
    """The budget in `path`: `{"total_compressed": bytes, "layers": {name: bytes}, "big_files": {glob: reason}}`.
    Raises ImageError that names what is missing or malformed.
    """
    document = jsonfile.read_object(path)
    keys = ("total_compressed", "layers", "big_files")
    jsonfile.reject_unknown(str(path), document.keys(), keys)
    missing = [key for key in keys if key not in document]
    if missing:
        raise ImageError(f"{path} lacks {', '.join(missing)}", "add it")
    limits = document["layers"]
    if not isinstance(limits, dict):
        raise ImageError(f"{path}: layers: expected an object, got {limits!r}", "correct the file")
    reasons = jsonfile.table(f"{path}: big_files", document["big_files"])
    return Budget(
        total=jsonfile.whole(f"{path}: total_compressed", document["total_compressed"]),
        layers={name: jsonfile.whole(f"{path}: layers.{name}", limit) for name, limit in limits.items()},
        big_files={glob: jsonfile.string(f"{path}: big_files.{glob}", why) for glob, why in reasons.items()},
        source=str(path),
    )


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the size table; sizes in bytes, `budget` None where none is set."""

    name: str
    compressed: int
    uncompressed: int
    files: int
    budget: int | None

    @property
    def ok(self) -> bool:
        """Whether there is a limit and the layer keeps it."""
        return self.budget is not None and self.compressed <= self.budget


def rows(layers: Sequence[Layer], budget: Budget) -> list[Row]:
    """The table: a row a layer in the image's order, then the total."""
    each = [Row(la.name, la.size, la.uncompressed_size, la.files, budget.layers.get(la.name)) for la in layers]
    compressed, uncompressed = sum(row.compressed for row in each), sum(row.uncompressed for row in each)
    return [*each, Row("total", compressed, uncompressed, sum(row.files for row in each), budget.total)]


def check(layers: Sequence[Layer], budget: Budget) -> list[Finding]:
    """Findings: a layer or the total over its limit, a layer without one, a limit without its layer, a file over
    50 MB without a reason, a reason that no such file needs.
    """
    found = []
    for row in rows(layers, budget):
        if row.budget is None:
            found.append(Finding("budget", row.name, "this layer has no budget", f"add it to {budget.source}"))
        elif not row.ok:
            over = row.compressed - row.budget
            what = f"{row.compressed:,} bytes compressed, {over:,} over its budget of {row.budget:,}"
            found.append(
                Finding("budget", row.name, what, f"remove what nothing loads, or raise the budget in {budget.source}")
            )
    for name in sorted(budget.layers.keys() - {layer.name for layer in layers}):
        found.append(Finding("budget", name, "there is a budget, but no such layer", f"remove it from {budget.source}"))
    used = set()
    for path, size in (item for layer in layers for item in layer.biggest):
        globs = [glob for glob in budget.big_files if fnmatchcase(path, glob)]
        used.update(globs)
        if not globs:
            what = f"{size:,} bytes, without a reason"
            found.append(Finding("big-file", path, what, f"remove the file, or add it to big_files in {budget.source}"))
    for glob in sorted(budget.big_files.keys() - used):
        found.append(Finding("big-file", glob, "matches no file over 50 MB", f"remove it from {budget.source}"))
    return found
