"""Where things lie: the checkout, its lock files, and the git-ignored working folder `.leviathan`."""

import os
from dataclasses import dataclass
from pathlib import Path

from leviathan_fetch.errors import FetchError

# Environments of public clients, which tests/clients runs.
CLIENTS = ("openai-3", "openai-2", "aider")


@dataclass(frozen=True)
class Project:
    """A checkout of Leviathan; `root` is its top folder."""

    root: Path

    @property
    def state(self) -> Path:
        """The git-ignored folder for everything that is not part of the source."""
        return self.root / ".leviathan"

    @property
    def downloads(self) -> Path:
        """Where artifacts lie until they are in the store."""
        return self.state / "downloads"

    @property
    def store(self) -> Path:
        """The Nix store's folder, for the space that its disk has."""
        return Path(os.environ.get("NIX_STORE_DIR", "/nix/store"))

    @property
    def locks(self) -> Path:
        """The folder of the lock files."""
        return self.root / "nix" / "locks"

    @property
    def debian_roots(self) -> Path:
        """Written by people: which Debian packages each group wants."""
        return self.locks / "debian-roots.json"

    @property
    def debian_lock(self) -> Path:
        """Written by `lock debian`: the closure of the roots."""
        return self.locks / "debian.json"

    @property
    def sources_lock(self) -> Path:
        """Written by `lock sources`: source archives."""
        return self.locks / "sources.json"

    @property
    def poetry(self) -> dict[str, Path]:
        """Lock → the folder of its Poetry project: the tool's, the engine's, and those of the clients under test."""
        clients = {name: self.locks / "clients" / name for name in CLIENTS}
        return {"tool": self.root, "engine": self.locks / "engine", **clients}


def find(start: Path) -> Project:
    """The checkout that `start` lies in.

    Errors: FetchError when neither `start` nor a folder above it holds `nix/locks`.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / "nix" / "locks").is_dir() and (folder / "pyproject.toml").is_file():
            return Project(folder)
    raise FetchError(f"{start} is not inside a checkout of Leviathan", "go there, or give it with --project DIR")
