"""Reads a blob in pieces for sending, and hashes each byte once on its way."""

import hashlib
import os
from collections.abc import Callable, Iterator
from types import TracebackType

from leviathan.errors import LayoutError
from leviathan.registry.layout import BUILD, Blob

#: Bytes in one read and one write to the socket: larger pieces make the HTTP client copy more on short writes.
PIECE = 256 << 10


class BlobReader:
    """An open blob, as a context manager.

    Bytes are hashed when they are first read in order; bytes sent again are not hashed again.
    """

    def __init__(self, blob: Blob) -> None:
        self.blob = blob
        self._hash = hashlib.sha256()
        self._hashed = 0
        try:
            self._handle = os.open(blob.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise LayoutError(
                "cannot read a blob", where=str(blob.path), why=error.strerror or str(error), remedy=BUILD
            ) from None

    def catch_up(self, offset: int) -> None:
        """Hash the bytes before `offset` that no one has read yet: an earlier process sent them."""
        for _ in self.pieces(self._hashed, max(0, offset - self._hashed)):
            pass

    def pieces(self, start: int, length: int, moved: Callable[[int], None] | None = None) -> Iterator[bytes]:
        """The bytes from `start`, `length` of them, in pieces; `moved` is told the size of each after it was taken.

        Errors: LayoutError when the file has become shorter.
        """
        place, end = start, start + length
        while place < end:
            piece = os.pread(self._handle, min(PIECE, end - place), place)
            if not piece:
                raise LayoutError(
                    "a blob has become shorter", where=str(self.blob.path), why=f"it ends at {place}", remedy=BUILD
                )
            after = place + len(piece)
            if place <= self._hashed < after:
                self._hash.update(piece[self._hashed - place :] if place < self._hashed else piece)
                self._hashed = after
            yield piece
            if moved is not None:
                moved(len(piece))
            place = after

    def check(self) -> None:
        """Hold the bytes that were read to the digest.

        Errors: LayoutError when the file does not hash to the blob's digest.
        """
        self.catch_up(self.blob.size)
        actual = f"sha256:{self._hash.hexdigest()}"
        if actual != self.blob.digest:
            raise LayoutError(
                "a blob is damaged", where=str(self.blob.path), why=f"it hashes to {actual}", remedy=BUILD
            )

    def __enter__(self) -> "BlobReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)
