"""What a measurement says: one cell for each prompt length, answer length and number of clients."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leviathan.bench.measure import Sample
from leviathan.errors import UsageError

FORMAT = "leviathan-bench/1"
#: Key in JSON → title of the column, unit, digits; True where more is better.
COLUMNS: dict[str, tuple[str, str, int, bool]] = {
    "first_p50": ("first token p50", "s", 3, False),
    "first_p99": ("p99", "s", 3, False),
    "gap_p50": ("between p50", "ms", 1, False),
    "gap_p99": ("p99", "ms", 1, False),
    "stream_rate": ("tokens/s a stream", "", 1, True),
    "total_rate": ("tokens/s in all", "", 1, True),
    "prompt_rate": ("prompt tokens/s", "", 0, True),
    "cached": ("cached", "%", 0, True),
}


@dataclass(frozen=True)
class Cell:
    """The samples of one setting: tokens asked for, clients at once, seconds that all took, and what failed."""

    prompt: int
    answer: int
    clients: int
    samples: tuple[Sample, ...]
    seconds: float
    failures: tuple[str, ...] = ()

    def values(self) -> dict[str, float]:
        """The columns; empty when every request has failed."""
        if not self.samples:
            return {}
        firsts = [each.first for each in self.samples]
        gaps = [gap for each in self.samples for gap in each.gaps] or [0.0]
        prompts = sum(each.prompt for each in self.samples)
        fresh = [(each.prompt - each.cached) / each.first for each in self.samples if each.first > 0]
        rates = [each.rate for each in self.samples]
        return {
            "first_p50": quantile(firsts, 0.5),
            "first_p99": quantile(firsts, 0.99),
            "gap_p50": 1000 * quantile(gaps, 0.5),
            "gap_p99": 1000 * quantile(gaps, 0.99),
            "stream_rate": sum(rates) / len(rates),
            "total_rate": sum(each.tokens for each in self.samples) / self.seconds if self.seconds else 0.0,
            "prompt_rate": sum(fresh) / len(fresh) if fresh else 0.0,
            "cached": 100 * sum(each.cached for each in self.samples) / prompts if prompts else 0.0,
        }

    def data(self) -> dict[str, Any]:
        """The cell for programs."""
        size = sum(each.prompt for each in self.samples) / len(self.samples) if self.samples else 0
        return {
            "prompt": self.prompt,
            "prompt_tokens": round(size),
            "answer": self.answer,
            "clients": self.clients,
            "requests": len(self.samples),
            "failures": list(self.failures),
            **{key: round(value, 6) for key, value in self.values().items()},
        }


def quantile(values: Sequence[float], share: float) -> float:
    """The value below or at which `share` of the values are (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def table(cells: Sequence[Mapping[str, Any]], earlier: Mapping[str, Any] | None = None) -> str:
    """The cells as text; with `earlier`, the share by which each value of the same setting has changed."""
    before = {_key(each): each for each in (earlier or {}).get("cells", [])}
    rows = [["prompt", "answer", "clients", *(f"{title} {unit}".strip() for title, unit, _, _ in COLUMNS.values())]]
    for cell in cells:
        row = [str(cell[key]) for key in ("prompt", "answer", "clients")]
        for key, (_, _, digits, _) in COLUMNS.items():
            text = f"{cell[key]:.{digits}f}" if key in cell else "failed"
            then = before.get(_key(cell), {}).get(key)
            if key in cell and then:
                text += f" ({100 * (cell[key] / then - 1):+.0f} %)"
            row.append(text)
        rows.append(row)
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return "\n".join("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in rows)


def document_of(text: str, where: str) -> dict[str, Any]:
    """A measurement that `leviathan bench --json` has written. Errors: UsageError when `text` is not one."""
    import json  # noqa: PLC0415 - only to compare

    try:
        found = json.loads(text)
        assert isinstance(found, dict)
        assert found.get("format") == FORMAT
        assert all(isinstance(each, dict) for each in found["cells"])
    except (ValueError, AssertionError, KeyError, TypeError):
        raise UsageError(
            "not a measurement to compare with", where=where, remedy="leviathan bench --result-file FILE writes one"
        ) from None
    return found


def _key(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    return cell.get("prompt"), cell.get("answer"), cell.get("clients")
