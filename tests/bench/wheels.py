"""Wheels that the bench compares with, brought by the user's own pip; for the bench only, never for the image.

A requirements file pins each by version and sha256, so that pip brings that very file or nothing.
"""

import hashlib
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from leviathan_fetch import process
from leviathan_fetch.clients import pip_client
from leviathan_fetch.errors import FetchError

from .errors import Missing
from .nix import ROOT

FOLDER = ROOT / ".leviathan" / "bench"
PATIENCE_S = 900.0
Run = Callable[[Sequence[str]], None]


@dataclass(frozen=True)
class Pin:
    """One line of a requirements file."""

    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


@dataclass(frozen=True)
class Wheels:
    """A requirements file in this folder, and the platforms that its wheels are tagged with."""

    requirements: Path
    platforms: tuple[str, ...]

    def pins(self) -> tuple[Pin, ...]:
        """What the file pins."""
        found = []
        for line in self.requirements.read_text(encoding="utf-8").splitlines():
            requirement, _, digest = line.partition(" --hash=sha256:")
            name, _, version = requirement.partition("==")
            found.append(Pin(name, version, digest.strip()))
        return tuple(found)

    def words(self, folder: Path) -> list[str]:
        """What pip is asked: into `folder`, nothing built, for the image's Python whichever one asks."""
        argv = ["download", "--no-deps", "--only-binary=:all:", "--python-version", "3.11"]
        argv += [word for platform in self.platforms for word in ("--platform", platform)]
        return [*argv, "--require-hashes", "-r", str(self.requirements), "-d", str(folder)]

    def command(self, folder: Path = FOLDER) -> str:
        """The same for a user, in this folder's repository."""
        return shlex.join(["python3", "-m", "pip", *self.words(folder)]).replace(f"{ROOT}/", "")


def digest(path: Path) -> str:
    """A file's sha256 in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def with_pip(words: Sequence[str]) -> None:
    """Runs the user's pip, without the bench's PYTHONPATH.

    Raises:
        FetchError: there is no pip, it failed, or it took longer than PATIENCE_S.
    """
    python = pip_client.find_python()
    if python is None:
        raise FetchError("this host has no pip", "apt-get install python3-pip")
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check"]
    done = process.run(
        [python, "-m", "pip", *words[:1], *quiet, *words[1:]], env={"PYTHONPATH": ""}, timeout=PATIENCE_S, check=False
    )
    if done.status:
        raise FetchError(f"pip ended with {done.status}: {done.tail(1)}", "run it by hand to see why")


def here(pin: Pin, folder: Path) -> Path | None:
    """The wheel of a pin in `folder`; another one of that name is not it."""
    found = sorted(folder.glob(f"{pin.name.replace('-', '_')}-*.whl"))
    return next((wheel for wheel in found if digest(wheel) == pin.sha256), None)


def fetched(wheels: Wheels, folder: Path = FOLDER, run: Run = with_pip) -> list[Path]:
    """The wheels, brought where one is not there yet.

    Raises:
        Missing: pip cannot bring them; with pip's reason and the command.
    """
    pins = wheels.pins()
    if not all(here(pin, folder) for pin in pins):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            run(wheels.words(folder))
        except FetchError as problem:
            names = " ".join(map(str, pins))
            raise Missing(f"no {names}: {problem}; by hand: {wheels.command(folder)}") from problem
    paths = [here(pin, folder) for pin in pins]
    lacking = [str(pin) for pin, path in zip(pins, paths, strict=True) if path is None]
    if lacking:
        raise Missing(f"pip left no wheel of {' '.join(lacking)} with the pinned sha256 in {os.path.relpath(folder)}")
    return [path for path in paths if path is not None]
