"""Bounded reading of a little-endian binary header: nothing outside the file, nothing larger than the cap."""

import os
import struct
from pathlib import Path

from leviathan_engine.errors import GgufError

# DeepSeek-V3's header is 5 MB; anything near this is not a header.
MAX_HEADER = 256 << 20
CHUNK = 1 << 20
AGAIN = "download the file again"


def short(text: str) -> str:
    """`text` quoted for a message, at most 60 characters of it."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


class Cursor:
    """Reads forward through an open file.

    Arguments: `fd`, a file opened for reading; `path`, for messages; `size`, the file's bytes. Every read is checked
    against `size` and `MAX_HEADER` before a byte is taken. `items` and `nested` are the reader's counts of what arrays
    have brought so far, `most` what the first may come to. Errors: GgufError that names the file and the place.
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
        """Bytes from here to the end of the file."""
        return self.size - self.pos

    def error(self, what: str, remedy: str = AGAIN) -> GgufError:
        """A GgufError about this place."""
        return GgufError(f"{self.path}: {what} (at byte {self.pos})", remedy)

    def take(self, n: int) -> bytes:
        """The next `n` bytes."""
        start = self._at(n)
        self.pos += n
        return self._buf[start : start + n]

    def u32(self) -> int:
        """The next unsigned 32-bit number."""
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        """The next unsigned 64-bit number."""
        return int.from_bytes(self.take(8), "little")

    def string(self, limit: int, what: str) -> str:
        """A length and as many UTF-8 bytes, at most `limit`. Bytes that are no UTF-8 come as lone surrogates."""
        length = self.u64()
        if length > limit:
            raise self.error(f"{what} of {length} bytes, more than {limit}: the header is damaged")
        return self.take(length).decode("utf-8", "surrogateescape")

    def strings(self, count: int, limit: int, what: str) -> list["str"]:
        """`count` strings; the loop over a vocabulary, hence without a call for each number."""
        out: list[str] = []
        for _ in range(count):
            start = self._at(8)
            (length,) = struct.unpack_from("<Q", self._buf, start)
            if length > limit:
                raise self.error(f"{what} of {length} bytes, more than {limit}: the header is damaged")
            start = self._at(8 + length) + 8
            out.append(self._buf[start : start + length].decode("utf-8", "surrogateescape"))
            self.pos += 8 + length
        return out

    def _at(self, n: int) -> int:
        """Index in the buffer of the current place, after making sure that `n` bytes stand there."""
        start = self.pos - self._base
        if start + n <= len(self._buf):
            return start
        if n > self.remaining:
            raise self.error(f"truncated: the header wants {n} more bytes and the file ends at byte {self.size}")
        if self.pos + n > MAX_HEADER:
            raise self.error(f"a header of more than {MAX_HEADER >> 20} MiB: the header is damaged")
        rest = self._buf[start:]
        at = self.pos + len(rest)
        want = min(max(n - len(rest), CHUNK), self.size - at)
        while want > 0:
            more = os.pread(self.fd, want, at)
            if not more:
                raise self.error(f"truncated: it shrank to {at} bytes while it was read")
            rest += more
            at += len(more)
            want -= len(more)
        self._base, self._buf = self.pos, rest
        return 0
