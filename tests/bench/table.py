"""The table: each row has a measurement and its limits."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum

COLUMNS = ("what", "ours", "theirs", "ratio or limit", "verdict")
#: The most characters of a row, its cells with " | " between them: what scripts/markdown_tables.py asks of a document.
WIDTH = 120


class Verdict(Enum):
    """How a row stands to its limit."""

    GOOD = "good"
    OPEN = "cannot be told"
    OVER = "over the limit"
    FREE = "no limit"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Row:
    """One measurement; less is better.

    Args:
        what: in words.
        ours: the figure, in `unit`.
        unit: such as "s"; the same for `theirs`.
        theirs: the figure to compare it with, None where there is none.
        against: whose figure that is.
        most: the most that `ours` may be.
        most_ratio: the most that ours ÷ theirs may be.
        at_least: theirs was stopped before its end, so that it is more than `theirs`, and the ratio less.
        detail: the single rounds and whatever else a reader of the JSON needs.
    """

    what: str
    ours: float
    unit: str
    theirs: float | None = None
    against: str = ""
    most: float | None = None
    most_ratio: float | None = None
    at_least: bool = False
    detail: str = ""

    @property
    def ratio(self) -> float | None:
        """ours ÷ theirs."""
        return None if self.theirs is None else self.ours / self.theirs

    @property
    def verdict(self) -> Verdict:
        """Over the limit where one of its limits is passed; open where only the whole of theirs would tell."""
        pairs = [(self.ours, self.most), (self.ratio, self.most_ratio)]
        held = [value <= limit for value, limit in pairs if value is not None and limit is not None]
        if not held:
            return Verdict.FREE
        if self.at_least and self.ratio is not None and self.most_ratio is not None and self.ratio > self.most_ratio:
            return Verdict.OPEN if self.most is None or self.ours <= self.most else Verdict.OVER
        return Verdict.GOOD if all(held) else Verdict.OVER

    def cells(self) -> tuple[str, ...]:
        """The row as text, one string a column."""
        least, below = ("≥ ", "< ") if self.at_least else ("", "")
        theirs = "" if self.theirs is None else f"{least}{figure(self.theirs, self.unit)} ({self.against})"
        against = [] if self.ratio is None else [f"{below}{self.ratio:.2f}"]
        if self.most_ratio is not None:
            against.append(f"≤ {self.most_ratio:g}")
        if self.most is not None:
            against.append(f"≤ {figure(self.most, self.unit)}")
        return (self.what, figure(self.ours, self.unit), theirs, ", ".join(against), self.verdict.value)


@dataclass(frozen=True)
class NotRun:
    """A measurement that this machine cannot make, and what would make it possible."""

    what: str
    why: str

    verdict = Verdict.NOT_RUN

    def cells(self) -> tuple[str, ...]:
        """The row as text, one string a column."""
        return (self.what, "", "", "", self.verdict.value)


Line = Row | NotRun


def figure(value: float, unit: str) -> str:
    """Three significant digits; an integer from 100 up."""
    digits = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return f"{digits} {unit}".rstrip()


def failed(lines: Sequence[Line]) -> bool:
    """Whether a limit is passed; what was not run fails nothing."""
    return any(line.verdict is Verdict.OVER for line in lines)


def render(lines: Sequence[Line]) -> str:
    """The table in Markdown, and below it a list of what was not run and why.

    The columns are as wide as their widest cell, or unpadded where a line would take more than `WIDTH`.
    """
    rows = [COLUMNS, *(line.cells() for line in lines)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(COLUMNS))]
    if sum(widths) + 3 * (len(widths) - 1) > WIDTH:
        widths = [0] * len(widths)
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    reasons = [f"- {line.what}: not run: {line.why}" for line in lines if isinstance(line, NotRun)]
    return "\n".join([*text, *([""] if reasons else []), *reasons])


def record(lines: Sequence[Line]) -> list[dict[str, object]]:
    """The rows for JSON."""
    return [
        asdict(line) | {"verdict": line.verdict.value} | ({"ratio": line.ratio} if isinstance(line, Row) else {})
        for line in lines
    ]
