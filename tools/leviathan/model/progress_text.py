"""Finds the progress of a download in the output of wget, curl, aria2, rclone, tqdm (huggingface-cli) ..."""

import re
from dataclasses import dataclass

from leviathan.terminal.progress import size_text

NUMBER = r"(\d+(?:[.,]\d+)?)"
UNIT = r"([kKMGTP]i?[Bb]?|[Bb](?:ytes)?)"
PAIR = re.compile(rf"(?<![\w.]){NUMBER}\s?{UNIT}?\s?(?:/|of)\s?{NUMBER}\s?{UNIT}(?![\w])")
PERCENT = re.compile(r"(?<![\w.])(\d{1,3}(?:[.,]\d+)?)\s?%")
POWERS = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


@dataclass(frozen=True)
class Progress:
    """`percent` from 0 to 100; `done` and `total` in bytes, None where the line has only a percentage."""

    percent: float
    done: int | None = None
    total: int | None = None

    def text(self) -> str:
        """`45 %`, or `45 % (21.6 GB of 48.0 GB)`."""
        if self.done is None or self.total is None:
            return f"{self.percent:.0f} %"
        return f"{self.percent:.0f} % ({size_text(self.done)} of {size_text(self.total)})"


def find_progress(line: str) -> Progress | None:
    """The progress in a line, or None. If a progress bar rewrites itself in the line, its last state counts."""
    last = next((part for part in reversed(re.split(r"[\r\n]", line)) if part.strip()), "")
    pairs = [found for match in PAIR.finditer(last) if (found := _pair(match)) is not None]
    percents = [value for match in PERCENT.finditer(last) if (value := _number(match[1])) <= 100]
    if pairs:
        done, total = pairs[-1]
        return Progress(percents[0] if percents else 100 * done / total, done, total)
    return Progress(percents[0]) if percents else None


def _pair(match: re.Match[str]) -> tuple[int, int] | None:
    total = _number(match[3]) * _scale(match[4])
    done = _number(match[1]) * _scale(match[2] or match[4])
    return (round(done), round(total)) if total > 0 and done <= total else None


def _number(text: str) -> float:
    return float(text.replace(",", "."))


def _scale(unit: str) -> int:
    """Bytes of a unit: KiB and its kind are binary, all others decimal."""
    base: int = 1024 if "i" in unit else 1000
    return base ** POWERS.get(unit[0].lower(), 0) if unit[0] not in "bB" else 1
