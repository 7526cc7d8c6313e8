"""The time of each phase of the image's build: as Nix recorded it, or built again with `--check`."""

import time
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from . import nix, recorded
from .table import Line, NotRun, Row

# Phase → the derivations in it; the first phase that fits has one.
PHASES = {
    "Debian rootfs": ("rootfs-*",),
    "CUDA toolkit": ("cuda-*",),
    "torch layer": ("python-torch", "bytecode-torch", "layer-torch"),
    "Python environment": ("python-*",),
    "CPU extensions": ("cpuinfer-*",),
    "CUDA ops": ("ktransformers-ops",),
    "Triton kernels": ("ktransformers-triton",),
    "KTransformers source": ("ktransformers-*",),
    "other layers": ("layer-*", "bytecode-*", "launcher", "image-modes"),
    "image": ("leviathan-image",),
}
OTHER = "other"
AGAIN = "make bench ARGS=--phases builds it again"


def phase(label: str) -> str:
    """The phase of a derivation's name."""
    return next((name for name, globs in PHASES.items() if any(fnmatchcase(label, glob) for glob in globs)), OTHER)


def built_again(drvs: Sequence[str]) -> dict[str, float | str]:
    """Derivation → seconds of a build with `--check`."""
    found: dict[str, float | str] = {}
    for drv in drvs:
        nix.output_of(drv)
        start = time.monotonic()
        nix.nix("--realise", "--check", drv, program="nix-store")
        found[drv] = time.monotonic() - start
    return found


def row(name: str, how: str, took: Mapping[str, float | str]) -> Line:
    """A phase's row; `took` is derivation → seconds, or why they are not known. One that is not known is enough."""
    what = f"image build, {name} ({how})"
    if not took:
        return NotRun(what, "the image has no such step")
    unknown = [f"{nix.label(drv)}: {why}" for drv, why in took.items() if isinstance(why, str)]
    if unknown:
        return NotRun(what, f"{'; '.join(unknown)}; {AGAIN}")
    seconds = {drv: each for drv, each in took.items() if not isinstance(each, str)}
    detail = ", ".join(f"{nix.label(drv)} {each:.1f} s" for drv, each in seconds.items())
    return Row(what, sum(seconds.values()), "s", detail=detail)


def rows(took: Mapping[str, float | str], how: str) -> list[Line]:
    """A row for each phase, in the order of the build, and one for their sum."""
    parts = {name: {drv: each for drv, each in took.items() if phase(nix.label(drv)) == name} for name in PHASES}
    rest = {drv: each for drv, each in took.items() if phase(nix.label(drv)) == OTHER}
    lines = [row(name, how, part) for name, part in parts.items()]
    return [*lines, *([row(OTHER, how, rest)] if rest else []), row("all phases", how, took)]


def measure(everything: bool) -> list[Line]:
    """The rows of this part; `everything` builds each step again, 20 minutes on 2 cores, else Nix's records tell."""
    nix.image()
    drvs = [drv for drv in nix.behind_image() if '("outputHash",' not in Path(drv).read_text(errors="replace")]
    return rows(built_again(drvs), "built again") if everything else rows(recorded.spans(drvs), "as recorded")
