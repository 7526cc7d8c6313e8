"""Reads a blob in pieces for the upload, and hashes each byte once."""

import hashlib
import os
from collections.abc import Callable, Iterator
from types import TracebackType

from leviathan.errors import LayoutError
from leviathan.registry.layout import BUILD, Blob

#: Bytes per read and per write to the socket. With larger pieces, the HTTP client copies more after short writes.
PIECE = 256 << 10


class BlobReader:
    """An open blob, as a context manager.

    Bytes are hashed when they are first read in order. Bytes that are sent again are not hashed again.
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
        """Hash the bytes before `offset` that have not been read yet, because an earlier process sent them."""
        for _ in self.pieces(self._hashed, max(0, offset - self._hashed)):
            pass

    def pieces(self, start: int, length: int, moved: Callable[[int], None] | None = None) -> Iterator[bytes]:
        """`length` bytes from `start`, in pieces. `moved` is called with the size of each piece after it was consumed.

        Errors: LayoutError if the file has become shorter.
        """
        place, end = start, start + length
        while place < end:
            piece = os.pread(self._handle, min(PIECE, end - place), place)
            if not piece:
                raise LayoutError(
                    "a blob is truncated", where=str(self.blob.path), why=f"it ends at byte {place}", remedy=BUILD
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
        """Compare the hash of the bytes with the blob's digest.

        Errors: LayoutError if they differ.
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
