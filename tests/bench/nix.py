"""Nix as the bench calls it, and the derivations behind the image."""

import json
import subprocess
from pathlib import Path

from .errors import BenchError

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ".#leviathan-image"


def nix(*argv: str, program: str = "nix", cwd: Path = ROOT) -> str:
    """Standard output of scripts/nix or scripts/nix-store.

    Raises:
        BenchError: it failed; the text is Nix's own.
    """
    command = [str(ROOT / "scripts" / program), *argv]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{program} {' '.join(argv)} ended with {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout


def build(*argv: str, cwd: Path = ROOT) -> list[Path]:
    """Builds, and names the first output of each; no link is made."""
    built = json.loads(nix("build", "--json", "--no-link", *argv, cwd=cwd))
    return [Path(each["outputs"]["out"]) for each in built]


def image(cwd: Path = ROOT) -> Path:
    """The image of the flake in `cwd`, an OCI layout, built if it is not there."""
    return build(IMAGE, cwd=cwd)[0]


def layers(layout: Path) -> dict[str, int]:
    """Digest → compressed bytes of the layers of an OCI layout with one image."""
    blobs = layout / "blobs" / "sha256"
    index = json.loads((layout / "index.json").read_text(encoding="utf-8"))
    digest = index["manifests"][0]["digest"].removeprefix("sha256:")
    manifest = json.loads((blobs / digest).read_text(encoding="utf-8"))
    return {layer["digest"]: layer["size"] for layer in manifest["layers"]}


def behind_image(name: str = IMAGE) -> list[str]:
    """The derivations behind an image of the flake, inputs first."""
    image = nix("eval", "--raw", f"{name}.drvPath")
    return [drv for drv in nix("-qR", image, program="nix-store").split() if drv.endswith(".drv")]


def label(drv: str) -> str:
    """A derivation's name, without hash and ending."""
    return Path(drv).name.partition("-")[2].removesuffix(".drv")


def output_of(drv: str) -> Path:
    """The first output of a derivation, built if it is not there."""
    return Path(nix("--realise", drv, program="nix-store").split()[0])
