"""The Nix archive of a folder, for its hash.

Format: "Nix Archive (NAR)" in the Nix manual, figure 5.2 of Dolstra's thesis: strings with a little-endian 64-bit
length, padded to eight bytes.
"""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path


def text(data: bytes) -> bytes:
    """`data` as a NAR string."""
    return len(data).to_bytes(8, "little") + data + b"\0" * (-len(data) % 8)


def words(*names: str) -> bytes:
    """`names` one after another, as NAR strings."""
    return b"".join(text(name.encode()) for name in names)


def node(path: Path) -> Iterator[bytes]:
    """The NAR of `path`, a folder, file or symbolic link, in pieces."""
    yield words("(", "type")
    if path.is_symlink():
        yield words("symlink", "target", str(path.readlink()))
    elif path.is_dir():
        yield words("directory")
        for child in sorted(path.iterdir(), key=lambda item: item.name.encode()):
            yield words("entry", "(", "name", child.name, "node")
            yield from node(child)
            yield words(")")
    else:
        yield words("regular")
        if path.stat().st_mode & 0o100:
            yield words("executable", "")
        yield words("contents") + text(path.read_bytes())
    yield words(")")


def sri(path: Path) -> str:
    """The hash of `path` that Nix calls recursive: ``sha256-`` and base64."""
    digest = hashlib.sha256(words("nix-archive-1"))
    for piece in node(path):
        digest.update(piece)
    return "sha256-" + base64.b64encode(digest.digest()).decode()
