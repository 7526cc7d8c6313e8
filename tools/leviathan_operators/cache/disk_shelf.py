"""Keeps pages of the KV cache in a folder: one file per page, named by the page's key, versioned and verified.

DIR/VERSION/KEY.page has a header of HEADER bytes, then the page. The version identifies the model's files and the
layout of a page; folders of other versions are not touched. A file that is cut off, damaged or from another model is
removed, and its tokens are computed again. Writing a page takes less time than computing its tokens.
"""

import contextlib
import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

from .parked import Blob

MAGIC = b"LEVKV1\0\0"
# Magic, version, key, length of the page, digest of the page.
HEADER = struct.Struct("<8s20s20sQ16s")

Say = Callable[[str], None]


class DiskShelf:
    """Implements `parked.Shelf` over a folder."""

    def __init__(self, folder: Path, version: bytes, most: int, say: Say) -> None:
        """Holds up to `most` bytes of pages of this `version` (20 bytes); `say` is called once for each kind of error.

        Pages of an earlier process are available. Errors: OSError if the folder cannot be created or read.
        """
        self._folder = folder / version.hex()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._version, self._most, self._say = version, most, say
        self._sizes: OrderedDict[bytes, int] = OrderedDict()
        self._lock = threading.RLock()  # protects only the index, so threads do not wait for each other's disk access
        self._failed = False
        self._said: set[str] = set()
        self._find()

    @property
    def used(self) -> int:
        """Bytes of all files."""
        with self._lock:
            return sum(self._sizes.values())

    def holds(self, key: bytes) -> bool:
        """Whether there is a file for the page."""
        with self._lock:
            return key in self._sizes

    def put(self, key: bytes, blob: Blob) -> None:
        """Writes the page, unless it exists already or the disk has failed."""
        if self._failed or self.holds(key):
            return
        path = self._path(key)
        part = path.with_suffix(".part")
        try:
            with part.open("wb") as file:
                file.write(header(self._version, key, blob))
                file.write(blob)
            part.replace(path)
        except OSError as err:
            self._failed = True
            self._tell(
                "write",
                f"cannot write to {self._folder}: {err.strerror}; conversations are no longer kept on this disk",
            )
            return
        with self._lock:
            self._sizes[key] = HEADER.size + len(blob)
            self._shrink()

    def get(self, key: bytes) -> Blob | None:
        """Returns the page's bytes, None if it is missing or damaged."""
        with self._lock:
            if key not in self._sizes:
                return None
            self._sizes.move_to_end(key)
        path = self._path(key)
        try:
            content = path.read_bytes()
            os.utime(path)
        except OSError as err:
            self._forget(key)
            self._tell("read", f"cannot read {path}: {err.strerror}; its tokens are computed again")
            return None
        why = wrong(content, self._version, key)
        if why:
            self._forget(key)
            self._tell("wrong", f"{path} is {why}; the file is removed, and its tokens are computed again")
            return None
        return memoryview(content)[HEADER.size :]

    def _find(self) -> None:
        """Finds the files of an earlier process, oldest first; removes unfinished ones."""
        found = []
        for path in self._folder.iterdir():
            if path.suffix == ".page" and len(path.stem) == 40:
                with contextlib.suppress(OSError, ValueError):
                    status = path.stat()
                    found.append((status.st_mtime_ns, bytes.fromhex(path.stem), status.st_size))
            elif path.suffix == ".part":
                path.unlink(missing_ok=True)
        self._sizes = OrderedDict((key, size) for _time, key, size in sorted(found))
        self._shrink()

    def _shrink(self) -> None:
        while self.used > self._most:
            self._forget(next(iter(self._sizes)))

    def _forget(self, key: bytes) -> None:
        with self._lock:
            self._sizes.pop(key, None)
        with contextlib.suppress(OSError):
            self._path(key).unlink(missing_ok=True)

    def _path(self, key: bytes) -> Path:
        return self._folder / f"{key.hex()}.page"

    def _tell(self, cause: str, text: str) -> None:
        if cause not in self._said:
            self._said.add(cause)
            self._say(text)


def header(version: bytes, key: bytes, blob: Blob) -> bytes:
    """Returns the header of a page's file."""
    return HEADER.pack(MAGIC, version, key, len(blob), blake2b(blob, digest_size=16).digest())


def wrong(content: bytes, version: bytes, key: bytes) -> str:
    """Says why a file is not the page of its name, "" if it is."""
    if len(content) < HEADER.size:
        return "cut off"
    magic, its_version, its_key, length, digest = HEADER.unpack_from(content)
    if magic != MAGIC:
        return "not a page"
    if its_version != version or its_key != key:
        return "from another model or conversation"
    page = memoryview(content)[HEADER.size :]
    if len(page) != length:
        return f"cut off ({len(page)} of {length} bytes)"
    return "" if blake2b(page, digest_size=16).digest() == digest else "damaged (its digest does not match)"
