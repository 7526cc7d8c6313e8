"""The time of each derivation behind the image, built again with `--check`."""

import time
from pathlib import Path

from . import nix
from .table import Line, Row

# Seconds each; the torch and Debian layers, the compilers and the wheels take minutes and wait for --phases.
QUICK = ("layer-launcher", "layer-python", "layer-engine", "leviathan-image")


def measure(everything: bool) -> list[Line]:
    """The rows of this part, longest first; `everything` is 20 minutes on 2 cores, else the last steps alone."""
    rows: list[Row] = []
    for drv in nix.behind_image():
        built = '("outputHash",' not in Path(drv).read_text(errors="replace")
        if built and (everything or nix.label(drv) in QUICK):
            nix.output_of(drv)
            start = time.monotonic()
            nix.nix("--realise", "--check", drv, program="nix-store")
            rows.append(Row(f"built again: {nix.label(drv)}", time.monotonic() - start, "s"))
    return [*sorted(rows, key=lambda row: -row.ours)]
