"""Stores how often each expert was chosen, in a file of the state folder, over restarts and for other machines."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

NAME = "expert-uses.json"
PLACEMENT = "expert-placement.json"
VERSION = 1
SAVE_SECONDS = 60.0


@dataclass(frozen=True)
class UseFile:
    """The file with the counts of a model with `experts` experts in each of `layers`."""

    path: Path
    layers: Sequence[int]
    experts: int

    def read(self) -> tuple[dict[int, list[int]], str]:
        """Returns the counts, and why they could not be read; "" if they were, or if there is no file yet."""
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}, ""
        except (OSError, ValueError) as err:
            return {}, f"cannot read {self.path}, so all experts count as unused: {err}"
        uses = document.get("uses") if isinstance(document, dict) and document.get("version") == VERSION else None
        if not isinstance(uses, dict) or set(uses) != {str(layer) for layer in self.layers}:
            return {}, f"{self.path}: expected counts for this model's layers, got others; the file is written again"
        if not all(self._row(row) for row in uses.values()):
            return {}, f"{self.path}: expected {self.experts} counts per layer, got others; the file is written again"
        return {int(layer): row for layer, row in uses.items()}, ""

    def _row(self, row: object) -> bool:
        return (
            isinstance(row, list)
            and len(row) == self.experts
            and all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in row)
        )

    def write(self, uses: Mapping[int, Sequence[int]]) -> None:
        """Replaces the file atomically. Errors: OSError."""
        _replace(self.path, {"version": VERSION, "uses": {str(layer): list(row) for layer, row in uses.items()}})


def added(first: Mapping[int, Sequence[int]], second: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
    """Returns the sum of two counts."""
    return {
        layer: [a + b for a, b in zip(first.get(layer, [0] * len(row)), row, strict=True)]
        for layer, row in second.items()
    }


class Uses:
    """The counts of the file at the start, and writes the file with the counts since then."""

    def __init__(self, file: UseFile, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._say, self._clock, self._saved = file, say, clock, clock()
        self.before, trouble = file.read()
        if trouble:
            say(f"experts: {trouble}")

    def take(self, other: Path) -> None:
        """Starts with the counts of another machine's file, if this machine has none; logs what it did."""
        if self.before:
            self._say(f"experts: {other} is not used, because this machine has its own counts in {self._file.path}")
            return
        self.before, trouble = UseFile(other, self._file.layers, self._file.experts).read()
        number = sum(map(sum, self.before.values()))
        self._say(f"experts: {trouble or f'starting with {number} expert uses from {other}'}")

    def keep(self, counted: Callable[[], Mapping[int, Sequence[int]]]) -> dict[int, list[int]] | None:
        """Writes the file unless it was written within SAVE_SECONDS; `counted` returns the counts since the start.

        Returns the total counts, None if the file was not written.
        """
        return self.write(counted()) if self._clock() - self._saved >= SAVE_SECONDS else None

    def write(self, counted: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
        """Writes the file; returns the total counts."""
        self._saved = self._clock()
        total = added(self.before, counted)
        try:
            self._file.write(total)
        except OSError as err:
            self._say(f"experts: cannot save the counts of expert uses: {err}")
        return total


@dataclass(frozen=True)
class PlacementFile:
    """Stores which experts are resident on GPUs, so that a start with a frozen placement repeats the last one."""

    path: Path

    def read(self, experts: Mapping[int, int]) -> dict[int, tuple[int, ...]] | None:
        """Returns the experts by layer; None if the file does not have all layers of `experts` (layer → count)."""
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
            rows = document["placement"] if document["version"] == VERSION else {}
            out = {int(layer): tuple(map(int, row)) for layer, row in rows.items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        out = {layer: row for layer, row in out.items() if layer in experts}
        fit = set(out) == set(experts) and all(0 <= e < experts[layer] for layer, row in out.items() for e in row)
        return out if fit and all(sorted(set(row)) == list(row) for row in out.values()) else None

    def write(self, placement: Mapping[int, Sequence[int]]) -> None:
        """Replaces the file atomically. Errors: OSError."""
        rows = {str(layer): list(row) for layer, row in placement.items()}
        _replace(self.path, {"version": VERSION, "placement": rows})


def _replace(path: Path, document: Mapping[str, object]) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(document) + "\n", encoding="utf-8")
    partial.replace(path)
