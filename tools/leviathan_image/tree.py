"""Several folder trees as one sorted list of entries: what a layer holds, before it is written."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from leviathan_image.errors import ImageError
from leviathan_image.modes import Mode

_SHOWN = 20


class Kind(StrEnum):
    """What an entry is. The values are the letters of a layer's `contents.tsv`."""

    DIRECTORY = "d"
    FILE = "f"
    SYMLINK = "l"


@dataclass(frozen=True, slots=True)
class Entry:
    """One path of a layer.

    Arguments: `path` in the image, without a leading slash; `kind`; `mode`, permission bits with setuid, setgid and
    sticky; `uid`, `gid`; `size` in bytes, 0 for all but files; `target` of a symbolic link; `source`, the file whose
    bytes it gets; `tree`, where it came from (for messages).
    """

    path: str
    kind: Kind
    mode: int
    uid: int = 0
    gid: int = 0
    size: int = 0
    target: str = ""
    source: Path | None = None
    tree: str = ""


def scan(tree: Path) -> Iterator[Entry]:
    """Every path below `tree`, unsorted: folders 0755, files 0755 if any execute bit is set, else 0644, links 0777.

    Hard links are files like any other, so a store that shares equal files changes nothing. Raises ImageError on a
    device, socket or pipe, on a name or a link's target that is not UTF-8 or has a
    control character, and on a tree that is no folder.
    """
    if not tree.is_dir():
        raise ImageError(f"the tree {tree} is not a folder", "name a folder that holds the layer's root")
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(tree / folder) as found:
            for item in found:
                entry = _entry(tree, f"{folder}/{item.name}".lstrip("/"), item)
                yield entry
                if entry.kind is Kind.DIRECTORY:
                    pending.append(entry.path)


def _entry(tree: Path, path: str, item: os.DirEntry[str]) -> Entry:
    _check_text(path, f"{tree} holds the name", "rename it")
    source = tree / path
    info = item.stat(follow_symlinks=False)
    if stat.S_ISDIR(info.st_mode):
        return Entry(path, Kind.DIRECTORY, 0o755, tree=str(tree))
    if stat.S_ISLNK(info.st_mode):
        target = os.readlink(source)  # noqa: PTH115  Path.readlink would rewrite "./x" and "a//b"
        _check_text(target, f"the link {source} leads to", "make it anew")
        return Entry(path, Kind.SYMLINK, 0o777, target=target, tree=str(tree))
    if stat.S_ISREG(info.st_mode):
        mode = 0o755 if info.st_mode & 0o111 else 0o644
        return Entry(path, Kind.FILE, mode, size=info.st_size, source=source, tree=str(tree))
    raise ImageError(f"{source} is neither a file, a folder nor a symbolic link", "leave it out of the tree")


def compose(trees: Sequence[Path], modes: Mapping[str, Mode]) -> list[Entry]:
    """All trees as one, sorted by the bytes of the path (so parents come before their children).

    Arguments: `trees`, folders that may share folders but no file or link; `modes`, overrides by path. Raises
    ImageError with every path that two trees hold, and with every override that fits nothing.
    """
    entries: dict[str, Entry] = {}
    clashes: list[str] = []
    for tree in trees:
        for entry in scan(tree):
            known = entries.setdefault(entry.path, entry)
            if known is not entry and not (known.kind is entry.kind is Kind.DIRECTORY):
                clashes.append(f"/{entry.path} in {known.tree} and {entry.tree}")
    if clashes:
        more = f" and {len(clashes) - _SHOWN} more" if len(clashes) > _SHOWN else ""
        raise ImageError(
            f"{len(clashes)} paths are in two trees: {'; '.join(sorted(clashes)[:_SHOWN])}{more}",
            "each file comes from one tree: drop it from the other",
        )
    _override(entries, modes)
    return [entries[path] for path in sorted(entries, key=str.encode)]


def _override(entries: dict[str, Entry], modes: Mapping[str, Mode]) -> None:
    """Apply `modes` to `entries`, making the folders that it asks for and their parents."""
    unused = []
    for path, mode in sorted(modes.items()):
        if path not in entries and mode.directory:
            parts = path.split("/")
            for end in range(1, len(parts) + 1):
                parent = "/".join(parts[:end])
                entries.setdefault(parent, Entry(parent, Kind.DIRECTORY, 0o755, tree="the modes table"))
        entry = entries.get(path)
        if entry is None or entry.kind is Kind.SYMLINK or (mode.directory and entry.kind is not Kind.DIRECTORY):
            unused.append(f"/{path} ({'no such path' if entry is None else f'its kind is {entry.kind.name.lower()}'})")
        else:
            entries[path] = replace(entry, mode=mode.mode, uid=mode.uid, gid=mode.gid)
    if unused:
        raise ImageError(f"the modes table does not fit the trees: {'; '.join(unused)}", "correct these entries")
    for entry in entries.values():
        parent = entry.path.rpartition("/")[0]
        if parent and entries[parent].kind is not Kind.DIRECTORY:
            raise ImageError(f"/{entry.path} lies below /{parent}, which is not a folder", "correct the modes table")


def _check_text(text: str, what: str, remedy: str) -> None:
    """Raises ImageError for what a tar header or a line of contents.tsv cannot hold as it is."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ImageError(f"{what} {os.fsencode(text)!r}, which is not UTF-8", remedy) from None
    if any(ord(letter) < 32 for letter in text):
        raise ImageError(f"{what} {text!r}, with a control character", remedy)
