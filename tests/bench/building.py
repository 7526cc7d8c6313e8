"""What a user waits for at each `nix build`: evaluation, a build with nothing to do, a change of one Python file."""

import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from . import nix
from .table import Line, Row


def seconds(*argv: str, runs: int = 5) -> float:
    """Median wall time of a Nix call."""
    times = []
    for _ in range(runs):
        start = time.monotonic()
        nix.nix(*argv)
        times.append(time.monotonic() - start)
    return statistics.median(times)


def launcher_changed() -> tuple[float, Path]:
    """Seconds to build the image after a change of one Python file of the launcher, and the new image."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "leviathan"
        subprocess.run(["git", "clone", "-q", str(nix.ROOT), str(clone)], check=True)
        nix.image(clone)
        changed = clone / "tools" / "leviathan_engine" / "__init__.py"
        changed.write_text(changed.read_text() + f"\n# {time.time_ns()}\n")
        start = time.monotonic()
        layout = nix.image(clone)
        return time.monotonic() - start, layout


def measure() -> list[Line]:
    """The rows of this part."""
    before = nix.layers(nix.image())
    change, layout = launcher_changed()
    added = sum(size for digest, size in nix.layers(layout).items() if digest not in before)
    return [
        Row("nix eval of the image", seconds("eval", "--raw", f"{nix.IMAGE}.drvPath"), "s", most=0.5),
        Row("nix build, nothing to do", seconds("build", nix.IMAGE, "--no-link"), "s", most=1),
        Row("nix build, one Python file changed", change, "s", most=20),
        Row("new layer bytes of that change", added / 1e6, "MB", most=1),
    ]
