"""The image for RTX 30 to 50 next to the runbook's: its size, and the time of the build steps that it alone has.

Builds nothing: `nix build .#leviathan-image-consumer` does, on top of the runbook's image.
"""

from pathlib import Path

from . import nix, recorded, size
from .table import Line, NotRun, Row

IMAGE = ".#leviathan-image-consumer"
SIZE, TIME = "compressed consumer image", "consumer image, its own build steps (as recorded)"


def measure() -> list[Line]:
    """The rows of this part."""
    layout = Path(nix.nix("eval", "--raw", f"{IMAGE}.outPath"))
    if not (layout / "index.json").is_file():
        why = f"not in the store: nix build {IMAGE}"
        return [NotRun(SIZE, why), NotRun(TIME, why)]
    ours, runbooks = (sum(nix.layers(each).values()) / 1e6 for each in (layout, nix.image()))
    rows: list[Line] = [Row(SIZE, ours, "MB", runbooks, "the runbook's", most=size.LIMIT_MB)]
    shared = set(nix.behind_image())
    return [*rows, time_row(recorded.spans([drv for drv in nix.behind_image(IMAGE) if drv not in shared]))]


def time_row(took: dict[str, float | str]) -> Line:
    """The sum of the steps; `took` is derivation → seconds, or why they are not known. One unknown is enough."""
    unknown = [f"{nix.label(drv)}: {why}" for drv, why in took.items() if isinstance(why, str)]
    if unknown or not took:
        return NotRun(TIME, "; ".join(unknown) or "it has no step of its own")
    seconds = {drv: each for drv, each in took.items() if not isinstance(each, str)}
    return Row(
        TIME, sum(seconds.values()), "s", detail=", ".join(f"{nix.label(d)} {s:.1f} s" for d, s in seconds.items())
    )
