"""A folder of files as one tar, the same bytes wherever it is made.

Format: ustar (POSIX.1-1988), names sorted by byte, owner 0, time 0, modes 644 and 755, no folders' own entries.
"""

import tarfile
from pathlib import Path

from leviathan_fetch.errors import FetchError


def pack(folder: Path, top: str, target: Path) -> None:
    """Write everything below `folder` to the tar `target`, under the name `top`.

    Errors: FetchError for what is not a plain file, or a name too long for ustar.
    """
    files = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as tar:
        for path in sorted(files, key=lambda item: item.relative_to(folder).as_posix().encode()):
            name = path.relative_to(folder).as_posix()
            if path.is_symlink() or not path.is_file():
                raise FetchError(f"{name} is not a plain file, and only plain files are packed")
            entry = tarfile.TarInfo(f"{top}/{name}")
            state = path.stat()
            entry.size = state.st_size
            entry.mode = 0o755 if state.st_mode & 0o100 else 0o644
            with path.open("rb") as stream:
                try:
                    tar.addfile(entry, stream)
                except ValueError as error:
                    raise FetchError(f"cannot pack {name}: {error}") from None
