"""The seed: a folder that holds `bin/busybox` alone, the first program that the Nix sandbox gets."""

import shutil
from pathlib import Path

from leviathan_fetch.debfile import member


def unpack(deb: Path, name: str, folder: Path) -> Path:
    """Put the file `name` of the package `deb` into `folder`, executable; `folder` is replaced and returned."""
    content = member(deb, name)
    shutil.rmtree(folder, ignore_errors=True)
    target = folder / name
    target.parent.mkdir(parents=True)
    target.write_bytes(content)
    target.chmod(0o555)
    return folder
