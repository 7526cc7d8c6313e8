"""Reads a little-endian binary header within bounds: never beyond the end of the file, never more than a limit."""

import os
import struct
from pathlib import Path

from leviathan_engine.errors import GgufError

# DeepSeek-V3's header is 5 MB; anything near this is not a header.
MAX_HEADER = 256 << 20
CHUNK = 1 << 20
AGAIN = "download the file again"


def short(text: str) -> str:
    """Quotes at most 60 characters of `text` for a message."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


class Cursor:
    """Reads forward through an open file.

    Arguments: `fd`, a file opened for reading; `path`, for messages; `size`, the file's bytes. Every read is first
    checked against `size` and `MAX_HEADER`. `items` counts the array items that were read so far, at most `most`;
    `nested` those in arrays of arrays. Errors: GgufError that names the file and the offset.
    """

    def __init__(self, fd: int, path: Path, size: int, most: int) -> None:
        self.fd = fd
        self.path = path
        self.size = size
        self.pos = 0
        self.most = most
        self.items = 0
        self.nested = 0
        self._base = 0
        self._buf = b""

    @property
    def remaining(self) -> int:
        """Bytes from the current offset to the end of the file."""
        return self.size - self.pos

    def error(self, what: str, remedy: str = AGAIN) -> GgufError:
        """Returns a GgufError that names the file and the current offset."""
        return GgufError(f"{self.path}: {what} (at byte {self.pos})", remedy)

    def take(self, n: int) -> bytes:
        """Reads `n` bytes."""
        start = self._at(n)
        self.pos += n
        return self._buf[start : start + n]

    def u32(self) -> int:
        """Reads an unsigned 32-bit integer."""
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        """Reads an unsigned 64-bit integer."""
        return int.from_bytes(self.take(8), "little")

    def string(self, limit: int, what: str) -> str:
        """Reads a length and that number of bytes, at most `limit`. Invalid UTF-8 becomes lone surrogates."""
        length = self.u64()
        if length > limit:
            raise self.error(f"the header is damaged: {what} has {length} bytes, at most {limit} are allowed")
        return self.take(length).decode("utf-8", "surrogateescape")

    def strings(self, count: int, limit: int, what: str) -> list["str"]:
        """Reads `count` strings. Without a function call for each one, because a vocabulary has many."""
        out: list[str] = []
        for _ in range(count):
            start = self._at(8)
            (length,) = struct.unpack_from("<Q", self._buf, start)
            if length > limit:
                raise self.error(f"the header is damaged: {what} has {length} bytes, at most {limit} are allowed")
            start = self._at(8 + length) + 8
            out.append(self._buf[start : start + length].decode("utf-8", "surrogateescape"))
            self.pos += 8 + length
        return out

    def _at(self, n: int) -> int:
        """Makes sure that `n` bytes are in the buffer; returns the index of the current offset in it."""
        start = self.pos - self._base
        if start + n <= len(self._buf):
            return start
        if n > self.remaining:
            raise self.error(f"truncated: the header needs {n} more bytes, but the file ends at byte {self.size}")
        if self.pos + n > MAX_HEADER:
            raise self.error(f"the header is damaged: it is larger than {MAX_HEADER >> 20} MiB")
        rest = self._buf[start:]
        at = self.pos + len(rest)
        want = min(max(n - len(rest), CHUNK), self.size - at)
        while want > 0:
            more = os.pread(self.fd, want, at)
            if not more:
                raise self.error(f"truncated: the file shrank to {at} bytes while it was read")
            rest += more
            at += len(more)
            want -= len(more)
        self._base, self._buf = self.pos, rest
        return 0
