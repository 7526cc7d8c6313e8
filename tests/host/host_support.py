"""Calls of scripts/nix and scripts/nix-store, and small stores of their own."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def call(*argv: str, cwd: Path = ROOT, limit: float = 280) -> subprocess.CompletedProcess[str]:
    """Run scripts/`argv[0]` of the checkout `cwd`; nothing is asserted."""
    command = [str(cwd / "scripts" / argv[0]), *argv[1:]]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=limit, check=False)


def output(*argv: str, cwd: Path = ROOT) -> str:
    """Standard output of a call that works."""
    done = call(*argv, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def derivation(name: str, cwd: Path = ROOT) -> str:
    """The derivation `name` behind the image."""
    image = output("nix", "eval", "--raw", ".#leviathan-image.drvPath", cwd=cwd)
    return next(drv for drv in output("nix-store", "-qR", image).split() if drv.partition("-")[2] == f"{name}.drv")


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of `size` (as mount's tmpfs takes it) at `folder`."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def change_launcher(clone: Path, text: str) -> None:
    """Change one Python file of the image, so that a few layers must be built."""
    file = clone / "tools" / "leviathan_engine" / "__init__.py"
    file.write_text(f"{file.read_text()}\n# {text}\n")
