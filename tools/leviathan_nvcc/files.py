"""Outputs that are whole or not there: written beside their place, then renamed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from leviathan_nvcc.errors import NvccError


def publish(source: Path, destination: str) -> None:
    """Copies a finished file to its place in one step.

    Arguments:
        source: the file in the private folder.
        destination: where the user wants it; its folder must exist.
    Errors:
        NvccError: the folder is not there or not writable, or the disk is full; the destination is as it was.
    """
    target = Path(destination)
    if destination == "/dev/null" or (target.exists() and not target.is_file()):
        with source.open("rb") as data, target.open("wb") as sink:
            shutil.copyfileobj(data, sink)
        return
    beside = target.parent / f".{target.name}.{os.getpid()}.tmp"
    try:
        shutil.copyfile(source, beside)
        beside.chmod(source.stat().st_mode & 0o777)
        beside.replace(target)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise NvccError(f"Could not write '{destination}': {error.strerror}") from None
