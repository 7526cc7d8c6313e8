"""Bars along the time, as SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

WIDTH, ROW, LEFT = 900, 22, 260
RIGHT = 60  # for the seconds behind the last bar
TICKS = 6


@dataclass(frozen=True)
class Bar:
    """A row: `begin` and `seconds` in seconds, since the same moment in all rows of a picture."""

    name: str
    begin: float
    seconds: float
    good: bool = True


@dataclass(frozen=True)
class Step:
    """A row with real times: `begin` and `end` in seconds since 1970."""

    name: str
    begin: float
    end: float

    def told(self) -> str:
        """The step's times in words."""
        return f"{clock(self.begin)} to {clock(self.end)}, {self.end - self.begin:.1f} s"


def clock(when: float) -> str:
    """A time of the day, in UTC, with tenths of a second."""
    return datetime.fromtimestamp(when, UTC).strftime("%H:%M:%S.%f")[:-5]


def bars(rows: Sequence[Bar], axis: Sequence[str] = ()) -> str:
    """The picture. Arguments: `axis`, what stands below it, at even distances from its begin to its end."""
    total = max([one.begin + one.seconds for one in rows], default=1.0) or 1.0
    height = ROW * (len(rows) + 1)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif">']
    for row, one in enumerate(rows):
        left = LEFT + (WIDTH - LEFT - RIGHT) * one.begin / total
        wide = max(2.0, (WIDTH - LEFT - RIGHT) * one.seconds / total)
        colour = "#2a7d4f" if one.good else "#b3261e"
        y = ROW * row
        lines.append(f'<text x="4" y="{y + 15}" font-size="12">{escape(one.name)}</text>')
        lines.append(f'<rect x="{left:.1f}" y="{y + 4}" width="{wide:.1f}" height="14" fill="{colour}"/>')
        lines.append(f'<text x="{left + wide + 4:.1f}" y="{y + 15}" font-size="11">{one.seconds:.1f} s</text>')
    for place, text in enumerate(axis):
        x = LEFT + (WIDTH - LEFT - RIGHT) * place / (len(axis) - 1)
        lines.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height - ROW}" stroke="#0003"/>')
        lines.append(f'<text x="{x:.1f}" y="{height - 6}" font-size="11" text-anchor="middle">{text}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def timed(steps: Sequence[Step]) -> str:
    """The picture of steps with real times, and a clock below it. Errors: ValueError without a step."""
    begin, end = min(one.begin for one in steps), max(one.end for one in steps)
    axis = [clock(begin + (end - begin) * place / (TICKS - 1)) for place in range(TICKS)]
    return bars([Bar(one.name, one.begin - begin, one.end - one.begin) for one in steps], axis)
