"""Keeps pages that were evicted from the GPU: in main memory up to a limit, and on disk if a folder is given.

The key of a page is a digest over its scope, its tokens and all tokens before it. So there is no index to store, and
pages on disk survive the process.
"""

import threading
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol

Blob = bytes | bytearray | memoryview
#: Minimum pages in main memory with a shelf, for pages that are not written yet: 144 MB of DeepSeek-V3.
WAITING = 32


class Shelf(Protocol):
    """Long-term storage of pages. It may lose a page, but never returns a wrong one; a separate thread calls `put`."""

    def holds(self, key: bytes) -> bool:
        """Whether it has the page."""

    def put(self, key: bytes, blob: Blob) -> None:
        """Stores the page if possible."""

    def get(self, key: bytes) -> Blob | None:
        """Returns the page's bytes, None if it is missing or damaged."""


def page_key(before: bytes, tokens: Sequence[int]) -> bytes:
    """Returns the key of a page with `tokens` after the page with the key `before`."""
    return blake2b(before + array("I", tokens).tobytes(), digest_size=20).digest()


def scope_key(scope: str) -> bytes:
    """Returns the key before the first page of a scope."""
    return blake2b(scope.encode(), digest_size=20).digest()


class ParkedPages:
    """An LRU cache of pages in main memory, by key; a thread copies them to a shelf.

    `park` does not wait for the thread or the shelf: a page that is evicted before the shelf has it is dropped.
    """

    def __init__(self, pages: int, shelf: Shelf | None = None) -> None:
        """Holds up to `pages` pages, at least WAITING with a `shelf`, which gets a copy of every page."""
        self.room = pages if shelf is None else max(pages, WAITING)
        self.dropped = 0
        self._shelf = shelf
        self._blobs: OrderedDict[bytes, Blob] = OrderedDict()
        self._waiting: dict[bytes, None] = {}  # blobs that the shelf does not have yet
        self._changed = threading.Condition()
        self._writer: threading.Thread | None = None

    def __len__(self) -> int:
        """Returns the number of pages in main memory."""
        return len(self._blobs)

    @property
    def keeps(self) -> bool:
        """Whether parking a page has any effect."""
        return self.room > 0

    def holds(self, key: bytes) -> bool:
        """Whether the page is parked."""
        with self._changed:
            if key in self._blobs:
                return True
        return self._shelf is not None and self._shelf.holds(key)

    def park(self, key: bytes, blob: Blob) -> None:
        """Stores a page, and returns immediately."""
        with self._changed:
            self._blobs[key] = blob
            self._blobs.move_to_end(key)
            if self._shelf is not None:
                self._waiting[key] = None
            while len(self._blobs) > self.room:
                leaving = next((other for other in self._blobs if other not in self._waiting), None)
                if leaving is None:
                    leaving = next(iter(self._blobs))
                    self.dropped += 1
                del self._blobs[leaving]
                self._waiting.pop(leaving, None)
            if self._shelf is not None and self._writer is None:
                self._writer = threading.Thread(target=self._write, args=(self._shelf,), daemon=True)
                self._writer.start()
            self._changed.notify_all()

    def fetch(self, key: bytes) -> Blob | None:
        """Returns the page's bytes, or None. The page stays parked, as the most recently used one."""
        with self._changed:
            blob = self._blobs.get(key)
            if blob is not None:
                self._blobs.move_to_end(key)
                return blob
        return self._shelf.get(key) if self._shelf is not None else None

    def settle(self, seconds: float) -> bool:
        """Waits at most `seconds` until the shelf has all pages; returns whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, seconds)

    def _write(self, shelf: Shelf) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                key = next(iter(self._waiting))
                blob = self._blobs[key]
            shelf.put(key, blob)
            with self._changed:
                self._waiting.pop(key, None)
                self._changed.notify_all()
