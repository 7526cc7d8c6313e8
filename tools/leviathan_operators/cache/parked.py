"""Pages that had to leave the GPU: kept in main memory up to a bound, and on disk where a folder is given.

A page is found by its key, a digest over its scope, its own tokens and all tokens before it, so no index has to be kept
and pages on disk survive the process.
"""

import threading
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol

Blob = bytes | bytearray | memoryview
#: Pages of main memory that a shelf has at least, for what it has not written yet: 144 MB of DeepSeek-V3.
WAITING = 32


class Shelf(Protocol):
    """Where pages are kept for longer. It may lose a page, and never returns a wrong one; `put` has its own thread."""

    def holds(self, key: bytes) -> bool:
        """Whether it has the page."""

    def put(self, key: bytes, blob: Blob) -> None:
        """Keeps the page if it can."""

    def get(self, key: bytes) -> Blob | None:
        """The page's bytes, or None when it is not there or cannot be trusted."""


def page_key(before: bytes, tokens: Sequence[int]) -> bytes:
    """The key of a page with `tokens` that follows the page with the key `before`."""
    return blake2b(before + array("I", tokens).tobytes(), digest_size=20).digest()


def scope_key(scope: str) -> bytes:
    """The key that stands before the first page of a scope."""
    return blake2b(scope.encode(), digest_size=20).digest()


class ParkedPages:
    """Pages in main memory by key, the least recently used ones leave first; a thread takes them on to a shelf.

    Whoever parks a page waits for neither the thread nor the shelf: a page that has to leave main memory before the
    shelf has it is dropped, so what waits is never more than `room`.
    """

    def __init__(self, pages: int, shelf: Shelf | None = None) -> None:
        """Holds up to `pages` pages, with a `shelf` at least WAITING: every page goes there, too."""
        self.room = pages if shelf is None else max(pages, WAITING)
        self.dropped = 0
        self._shelf = shelf
        self._blobs: OrderedDict[bytes, Blob] = OrderedDict()
        self._waiting: dict[bytes, None] = {}  # of the blobs, what the shelf does not have yet
        self._changed = threading.Condition()
        self._writer: threading.Thread | None = None

    def __len__(self) -> int:
        """How many pages are in main memory."""
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
        """Keeps a page, and returns at once."""
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
        """The page's bytes, or None. It stays parked, as the most recently used one."""
        with self._changed:
            blob = self._blobs.get(key)
            if blob is not None:
                self._blobs.move_to_end(key)
                return blob
        return self._shelf.get(key) if self._shelf is not None else None

    def settle(self, seconds: float) -> bool:
        """Waits until the shelf has everything, so many seconds at most; whether it has."""
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
