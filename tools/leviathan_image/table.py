"""The size table as text and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from fnmatch import fnmatchcase

from leviathan_image.budget import Budget, Row, check, rows
from leviathan_image.layer import Layer

_HEAD = ("layer", "compressed MB", "unpacked MB", "files", "budget MB", "")


def as_text(layers: Sequence[Layer], budget: Budget) -> str:
    """The table (MB of 10^6 bytes), the files over 50 MB with their reasons, and every finding."""
    cells = [_HEAD, *(_cells(row) for row in rows(layers, budget))]
    widths = [max(len(row[column]) for row in cells) for column in range(len(_HEAD))]
    lines = [_line(row, widths) for row in cells]
    big = sorted(((size, path) for layer in layers for path, size in layer.biggest), reverse=True)
    if big:
        lines += ["", "files over 50 MB"]
        lines += [f"{size / 1e6:8.1f} MB  {path}: {reason(path, budget) or 'NO REASON'}" for size, path in big]
    findings = check(layers, budget)
    if findings:
        lines += ["", *(finding.line() for finding in findings)]
    return "\n".join(lines) + "\n"


def as_json(layers: Sequence[Layer], budget: Budget) -> str:
    """The same as one object: `layers` (the rows, with the total), `big_files`, `findings`, `ok`."""
    findings = check(layers, budget)
    document = {
        "layers": [{**asdict(row), "ok": row.ok} for row in rows(layers, budget)],
        "big_files": [
            {"path": path, "size": size, "layer": layer.name, "reason": reason(path, budget)}
            for layer in layers
            for path, size in layer.biggest
        ],
        "findings": [asdict(finding) for finding in findings],
        "ok": not findings,
    }
    return json.dumps(document, indent=2) + "\n"


def reason(path: str, budget: Budget) -> str:
    """Why the image needs `path`, by the first glob that fits; empty where none does."""
    return next((why for glob, why in budget.big_files.items() if fnmatchcase(path, glob)), "")


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    """The first and last column to the left, the numbers to the right."""
    pairs = enumerate(zip(row, widths, strict=True))
    cells = [cell.ljust(width) if column in {0, len(row) - 1} else cell.rjust(width) for column, (cell, width) in pairs]
    return "  ".join(cells).rstrip()


def _cells(row: Row) -> tuple[str, ...]:
    limit = "none" if row.budget is None else f"{row.budget / 1e6:.1f}"
    state = "ok" if row.ok else "NO BUDGET" if row.budget is None else "OVER"
    return (row.name, f"{row.compressed / 1e6:.1f}", f"{row.uncompressed / 1e6:.1f}", f"{row.files:,}", limit, state)
