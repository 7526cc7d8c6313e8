"""Installs $wheels into $out with pypa's installer, then takes out what $prune names. Run by nix/python/default.nix."""

import json
import os
import sys
from pathlib import Path
from typing import BinaryIO

sys.path.insert(0, os.environ["installer"])  # a wheel is importable as it is

from installer import install
from installer.destinations import SchemeDictionaryDestination
from installer.records import RecordEntry
from installer.sources import WheelFile
from installer.utils import Scheme

PREFIX = "/usr/local"
PACKAGES = f"{PREFIX}/lib/python3.11/dist-packages"
SCHEME = {
    "purelib": PACKAGES,
    "platlib": PACKAGES,
    "scripts": f"{PREFIX}/bin",
    "data": PREFIX,
}


class SharedDestination(SchemeDictionaryDestination):  # type: ignore[misc]
    """Lets several wheels bring one file, as NVIDIA's do with nvidia/__init__.py, so long as its bytes are the same."""

    def write_to_fs(self, scheme: Scheme, path: str, stream: BinaryIO, is_executable: bool) -> RecordEntry:
        target = Path(self._path_with_destdir(scheme, path))
        if target.exists():
            if target.read_bytes() != stream.read():
                sys.exit(f"leviathan: two wheels bring {path} with different content; lock versions that agree")
            target.unlink()
            stream.seek(0)
        return super().write_to_fs(scheme, path, stream, is_executable)


def install_wheel(path: Path, link: Path, out: Path) -> None:
    """Installs one wheel; `link` carries its real file name, which `installer` takes name and version from."""
    link.symlink_to(path)
    distribution = link.name.split("-")[0]
    scheme = SCHEME | {"headers": f"{PREFIX}/include/python3.11/{distribution}"}
    destination = SharedDestination(
        scheme, interpreter="/usr/bin/python3", script_kind="posix", destdir=str(out), bytecode_optimization_levels=()
    )
    with WheelFile.open(link) as source:
        install(source=source, destination=destination, additional_metadata={"INSTALLER": b"leviathan\n"})


def prune(packages: Path, globs: dict[str, str]) -> None:
    """Takes out what the globs match, and its lines in the RECORD files; a glob without a match is an error."""
    gone: set[str] = set()
    for glob in globs:
        found = [path for path in packages.glob(glob) if not path.is_dir()]
        if not found:
            sys.exit(f"leviathan: prune list: {glob} matches nothing in this environment; take it out of the list")
        for path in found:
            path.unlink()
            gone.add(str(path.relative_to(packages)))
    for record in packages.glob("*.dist-info/RECORD"):
        lines = record.read_text().splitlines(keepends=True)
        record.write_text("".join(line for line in lines if line.split(",")[0] not in gone))
    for folder in sorted((path for path in packages.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()


def main() -> None:
    out = Path(os.environ["out"])
    links = Path("/build/wheels")
    links.mkdir()
    paths = os.environ["wheels"].split()
    names = os.environ["wheelNames"].split()
    for path, name in zip(paths, names, strict=True):
        install_wheel(Path(path), links / name, out)
    prune(out / PACKAGES.lstrip("/"), json.loads(os.environ["prune"]))


main()
