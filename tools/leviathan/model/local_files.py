"""Reads the model's files in a local folder: names, sizes, and optionally their hashes."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from leviathan.model.downloaded import ModelError
from leviathan.model.manifest import Manifest, ModelFile, safe_name
from leviathan.terminal.output import Console
from leviathan.terminal.progress import Meter
from leviathan_engine.planning import EngineError, dump, read_model

SUFFIX = ".gguf"
PIECE = 4 << 20


def local_sizes(folder: Path) -> dict[str, int]:
    """All files below `folder`, following links: name with slashes → bytes. Errors: ModelError."""
    found: dict[str, int] = {}
    try:
        if not folder.is_dir():
            raise ModelError(
                "the folder does not exist", where=str(folder), remedy="name the model's folder with --folder"
            )
        for root, _, names in os.walk(folder, onerror=_raise):
            for path in (Path(root) / name for name in names):
                if path.is_file():
                    found[path.relative_to(folder).as_posix()] = path.stat().st_size
    except OSError as error:
        where = str(error.filename or folder)
        raise ModelError("cannot read the model's folder", where=where, why=error.strerror or str(error)) from None
    return found


def local_hashes(folder: Path, names: list[str], console: Console, heartbeat_s: float) -> dict[str, str]:
    """SHA-256 in hex of the named files below `folder`, with progress. Errors: ModelError."""
    sizes = {name: (folder / name).stat().st_size for name in names}
    with Meter(console, "sha256", sum(sizes.values()), heartbeat_s=heartbeat_s) as meter:
        return {name: _hash(folder / name, meter.add) for name in names}


def write_manifest_of(folder: Path, console: Console, *, hashed: bool, heartbeat_s: float) -> Manifest:
    """The manifest of the GGUF model in `folder`: its .gguf files and its header.

    Checks the model first, as the engine does, because a manifest of an incomplete model would be misleading.
    Errors: ModelError.
    """
    sizes = {name: size for name, size in local_sizes(folder).items() if name.endswith(SUFFIX)}
    try:
        header = dump.dump(read_model(folder))
    except EngineError as error:
        raise ModelError(error.message, remedy=error.remedy) from None
    if odd := sorted(name for name in sizes if not safe_name(name)):
        raise ModelError("a file has a name that a manifest cannot hold", where=repr(odd[0]), remedy="rename the file")
    hashes = local_hashes(folder, sorted(sizes), console, heartbeat_s) if hashed else {}
    return Manifest(tuple(ModelFile(name, sizes[name], hashes.get(name, "")) for name in sorted(sizes)), header)


def _hash(path: Path, moved: Callable[[int], None]) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while piece := stream.read(PIECE):
                digest.update(piece)
                moved(len(piece))
    except OSError as error:
        raise ModelError("cannot read a file", where=str(path), why=error.strerror or str(error)) from None
    return digest.hexdigest()


def _raise(error: OSError) -> None:
    raise error
