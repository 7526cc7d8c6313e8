"""The file in the state folder that keeps how often each expert was chosen, over restarts and for other machines."""

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
    """Counts by layer for a model with so many experts in each of these layers."""

    path: Path
    layers: Sequence[int]
    experts: int

    def read(self) -> tuple[dict[int, list[int]], str]:
        """The counts, and why there are none: "" also for a file that is not there yet."""
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}, ""
        except (OSError, ValueError) as err:
            return {}, f"{self.path}: cannot be read, so no expert counts as used: {err}"
        uses = document.get("uses") if isinstance(document, dict) and document.get("version") == VERSION else None
        if not isinstance(uses, dict) or set(uses) != {str(layer) for layer in self.layers}:
            return {}, f"{self.path}: not the counts of this model's layers: it is written again"
        if not all(self._row(row) for row in uses.values()):
            return {}, f"{self.path}: expected {self.experts} counts a layer: it is written again"
        return {int(layer): row for layer, row in uses.items()}, ""

    def _row(self, row: object) -> bool:
        return (
            isinstance(row, list)
            and len(row) == self.experts
            and all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in row)
        )

    def write(self, uses: Mapping[int, Sequence[int]]) -> None:
        """Replaces the file in one step. Errors: OSError."""
        _replace(self.path, {"version": VERSION, "uses": {str(layer): list(row) for layer, row in uses.items()}})


def added(first: Mapping[int, Sequence[int]], second: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
    """Both together."""
    return {
        layer: [a + b for a, b in zip(first.get(layer, [0] * len(row)), row, strict=True)]
        for layer, row in second.items()
    }


class Uses:
    """What the file had at the start, and the file again with what was counted since."""

    def __init__(self, file: UseFile, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._file, self._say, self._clock, self._saved = file, say, clock, clock()
        self.before, trouble = file.read()
        if trouble:
            say(f"experts: {trouble}")

    def take(self, other: Path) -> None:
        """Begins with the counts of another machine's file where there are none of this one's. Says what it took."""
        if self.before:
            self._say(f"experts: {other}: not read: this machine has counts of its own in {self._file.path}")
            return
        self.before, trouble = UseFile(other, self._file.layers, self._file.experts).read()
        number = sum(map(sum, self.before.values()))
        self._say(f"experts: {trouble or f'{other}: {number} choices of experts counted elsewhere'}")

    def keep(self, counted: Callable[[], Mapping[int, Sequence[int]]]) -> dict[int, list[int]] | None:
        """Writes the file unless it was written within SAVE_SECONDS; `counted` gives the counts since the start.

        Returns what was counted in all, None where it was too early.
        """
        return self.write(counted()) if self._clock() - self._saved >= SAVE_SECONDS else None

    def write(self, counted: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
        """Writes the file; returns what was counted in all."""
        self._saved = self._clock()
        total = added(self.before, counted)
        try:
            self._file.write(total)
        except OSError as err:
            self._say(f"experts: the counts of use are not kept: {err}")
        return total


@dataclass(frozen=True)
class PlacementFile:
    """Keeps which experts stay on a GPU, so that a start with the placement frozen repeats the last one."""

    path: Path

    def read(self, experts: Mapping[int, int]) -> dict[int, tuple[int, ...]] | None:
        """The experts of these layers, which have so many each; None where the file has not all of them."""
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
        """Replaces the file in one step. Errors: OSError."""
        rows = {str(layer): list(row) for layer, row in placement.items()}
        _replace(self.path, {"version": VERSION, "placement": rows})


def _replace(path: Path, document: Mapping[str, object]) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(document) + "\n", encoding="utf-8")
    partial.replace(path)
