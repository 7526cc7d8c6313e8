"""Pages that had to leave the GPU: kept in main memory up to a bound, and on disk where a folder is given.

A page is found by its key, a digest over its scope, its own tokens and all tokens before it, so no index has to be kept
and pages on disk survive the process.
"""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol

Blob = bytes | bytearray | memoryview


class Shelf(Protocol):
    """Where pages are kept for longer. Both calls may lose a page, neither may return a wrong one."""

    def put(self, key: bytes, blob: Blob) -> None:
        """Keeps the page if it can."""

    def get(self, key: bytes) -> Blob | None:
        """The page's bytes, or None when it is not there or cannot be trusted."""


def page_key(before: bytes, tokens: Sequence[int]) -> bytes:
    """The key of a page with `tokens` that follows the page with the key `before`."""
    return blake2b(before + b"".join(token.to_bytes(4, "little") for token in tokens), digest_size=20).digest()


def scope_key(scope: str) -> bytes:
    """The key that stands before the first page of a scope."""
    return blake2b(scope.encode(), digest_size=20).digest()


class ParkedPages:
    """Pages in main memory by key, the least recently used ones leave first."""

    def __init__(self, pages: int, shelf: Shelf | None = None) -> None:
        """Holds up to `pages` pages; `shelf` gets every page, too."""
        self._room = pages
        self._shelf = shelf
        self._blobs: OrderedDict[bytes, Blob] = OrderedDict()

    def __len__(self) -> int:
        """How many pages are in main memory."""
        return len(self._blobs)

    @property
    def keeps(self) -> bool:
        """Whether parking a page has any effect."""
        return self._room > 0 or self._shelf is not None

    def park(self, key: bytes, blob: Blob) -> None:
        """Keeps a page."""
        if self._shelf is not None:
            self._shelf.put(key, blob)
        self._blobs[key] = blob
        self._blobs.move_to_end(key)
        while len(self._blobs) > self._room:
            self._blobs.popitem(last=False)

    def fetch(self, key: bytes) -> Blob | None:
        """The page's bytes, or None. It stays parked, as the most recently used one."""
        blob = self._blobs.get(key)
        if blob is not None:
            self._blobs.move_to_end(key)
            return blob
        return self._shelf.get(key) if self._shelf is not None else None
