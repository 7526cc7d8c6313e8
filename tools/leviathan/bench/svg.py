"""A measurement as a picture: tokens a second over clients, one line for each prompt and answer length."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 760, 420, 70, 40, 60, 220
COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#8e5ea2", "#b8860b", "#555555", "#00838f", "#ad1457")


def picture(document: Mapping[str, Any]) -> str:
    """The SVG of `leviathan bench`'s JSON."""
    lines: dict[tuple[int, int], list[tuple[int, float]]] = {}
    for cell in document["cells"]:
        if "total_rate" in cell:
            lines.setdefault((cell["prompt"], cell["answer"]), []).append((cell["clients"], cell["total_rate"]))
    points = [point for line in lines.values() for point in line]
    most_x = max((x for x, _ in points), default=1)
    most_y = max((y for _, y in points), default=1.0) or 1.0
    plot_w, plot_h = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + plot_w * x / most_x, TOP + plot_h * (1 - y / most_y)

    title = escape(f"{document['model']}: tokens a second in all, by clients at once")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif"'
        ' font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="22" font-size="15">{title}</text>',
    ]
    for step in range(5):
        value = most_y * step / 4
        y = place(0, value)[1]
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{LEFT + plot_w}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>')
    for x in sorted({x for x, _ in points}):
        at = place(x, 0)[0]
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{x}</text>')
    parts.append(f'<text x="{LEFT + plot_w / 2:.0f}" y="{HEIGHT - 15}" text-anchor="middle">clients at once</text>')
    for number, ((prompt, answer), line) in enumerate(sorted(lines.items())):
        parts += _line([place(*point) for point in sorted(line)], COLOURS[number % len(COLOURS)])
        y = TOP + 18 * number + 10
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<rect x="{WIDTH - RIGHT + 20}" y="{y - 9}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 38}" y="{y + 2}">{prompt} in, {answer} out</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _line(points: Sequence[tuple[float, float]], colour: str) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
    return [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>', *dots]
