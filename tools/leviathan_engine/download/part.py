"""An unfinished file: its bytes are in NAME.part, and NAME.part.state says which bytes have arrived.

The state starts with a line of JSON that identifies the file and its server. Two little-endian 64-bit counts for each
chunk follow: the bytes that were written, and the bytes that were on the disk at the last fdatasync. If only the
process died, the first count is valid, because the kernel keeps what was written. If the machine was restarted, which
the kernel's boot id shows, the second count is valid.
"""

import hashlib
import json
import os
import struct
import threading
from pathlib import Path

from .errors import DownloadError
from .source import RemoteFile

FORMAT = "leviathan-part/1"
#: Bytes reserved for the first line of the state.
HEAD = 4096
COUNTS = struct.Struct("<QQ")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
#: Bytes read at once for the hash; they stay in a core's own cache between copying and hashing.
PIECE = 256 << 10
#: Seconds between two checks of the hash for new bytes.
LOOK_S = 0.02


class Part:
    """An unfinished file. Only one thread may write to a chunk. Call `close` at the end."""

    def __init__(self, file: RemoteFile, folder: Path, chunk: int) -> None:
        self.file = file
        self.target = folder / file.name
        self.path = self.target.with_name(self.target.name + ".part")
        self.state = self.target.with_name(self.target.name + ".part.state")
        self.chunk = chunk if file.ranges else max(file.size, 1)
        self.count = max(1, -(-file.size // self.chunk))
        self._whole = 0  # number of complete chunks from the start of the file
        self._turn = threading.Lock()  # the kernel lets one thread at a time write to a file; others would spin
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = self._kept() if self.path.exists() else None
        if kept is None:
            self.state.unlink(missing_ok=True)
        self._data = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._counts = os.open(self.state, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.ftruncate(self._data, file.size)
        os.pwrite(self._counts, self._head(), 0)
        os.ftruncate(self._counts, HEAD + self.count * COUNTS.size)
        self.written = kept or [0] * self.count
        if not file.ranges:
            self.written = [n if n == file.size else 0 for n in self.written]
        for index, done in enumerate(self.written):
            os.pwrite(self._counts, COUNTS.pack(done, done), HEAD + index * COUNTS.size)

    def span(self, index: int) -> tuple[int, int]:
        """Returns the first byte of a chunk, and the first byte after it."""
        return index * self.chunk, min((index + 1) * self.chunk, self.file.size)

    def missing(self) -> list[int]:
        """Returns the chunks that are not complete, in order."""
        spans = [self.span(index) for index in range(self.count)]
        return [index for index, (first, end) in enumerate(spans) if self.written[index] < end - first]

    @property
    def done(self) -> int:
        """Returns the number of bytes that have arrived."""
        return sum(self.written)

    def write(self, index: int, piece: memoryview) -> None:
        """Appends to a chunk. Errors: DownloadError if the disk cannot be written."""
        at = self.span(index)[0] + self.written[index]
        rest = piece
        try:
            with self._turn:
                while rest:
                    count = os.pwrite(self._data, rest, at)
                    at, rest = at + count, rest[count:]
                done = self.written[index] + len(piece)
                os.pwrite(self._counts, struct.pack("<Q", done), HEAD + index * COUNTS.size)
        except OSError as error:
            raise disk_error(self.path, error) from None
        self.written[index] = done

    def restart(self, index: int) -> None:
        """Discards a chunk, for a server that cannot send the rest of it."""
        self.written[index] = 0
        os.pwrite(self._counts, COUNTS.pack(0, 0), HEAD + index * COUNTS.size)

    def prefix(self) -> int:
        """Returns the number of bytes from the file's start without a gap. Not thread-safe: keeps its position."""
        while self._whole < self.count:
            first, end = self.span(self._whole)
            if self.written[self._whole] < end - first:
                return first + self.written[self._whole]
            self._whole += 1
        return self.file.size

    def digest(self, stop: threading.Event) -> str:
        """Returns the SHA-256 of the file in hex; hashes the bytes as they arrive. Errors: DownloadError."""
        digest, at = hashlib.sha256(), 0
        buffer = memoryview(bytearray(PIECE))
        while at < self.file.size:
            while (ready := self.prefix()) <= at:
                if stop.wait(LOOK_S):
                    raise DownloadError("stopped")
            while at < ready:
                try:
                    count = os.preadv(self._data, [buffer[: min(PIECE, ready - at)]], at)
                except OSError as error:
                    raise disk_error(self.path, error) from None
                digest.update(buffer[:count])
                at += count
        return digest.hexdigest()

    def sync(self) -> None:
        """Writes all bytes so far to the disk, and records that in the state. Errors: DownloadError."""
        written = list(self.written)
        try:
            os.fdatasync(self._data)
            for index, done in enumerate(written):
                os.pwrite(self._counts, struct.pack("<Q", done), HEAD + index * COUNTS.size + 8)
        except OSError as error:
            raise disk_error(self.path, error) from None

    def publish(self) -> None:
        """Renames the complete file to its final name, atomically and durably. Errors: DownloadError."""
        try:
            os.fsync(self._data)
            self.path.replace(self.target)
            sync_folder(self.target.parent)
            self.state.unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(self.path, error) from None

    def discard(self) -> None:
        """Removes the unfinished file and its state."""
        self.state.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the files."""
        os.close(self._data)
        os.close(self._counts)

    def _head(self) -> bytes:
        facts = {
            "format": FORMAT,
            "url": self.file.url.partition("?")[0],
            "size": self.file.size,
            "sha256": self.file.sha256,
            "etag": self.file.etag,
            "chunk": self.chunk,
            "boot": _boot_id(),
        }
        line = json.dumps(facts).encode() + b"\n"
        if len(line) > HEAD:
            raise DownloadError(
                f"{self.file.name}: the address of the file is longer than {HEAD} bytes", "choose another source"
            )
        return line.ljust(HEAD, b"\0")

    def _kept(self) -> list[int] | None:
        """Returns the counts of an earlier run, None if there are none or they belong to another file."""
        try:
            raw = self.state.read_bytes()
            then = json.loads(raw[:HEAD].split(b"\n")[0])
            now = json.loads(self._head().split(b"\n")[0])
        except (OSError, ValueError):
            return None
        same_boot = then.pop("boot", "") == now.pop("boot")
        # The digest identifies the content; the address may have changed.
        if then.get("sha256") and then.get("sha256") == now["sha256"]:
            then["url"], then["etag"] = now["url"], now["etag"]
        if then != now or len(raw) != HEAD + self.count * COUNTS.size:
            return None
        counts = [pair[0 if same_boot else 1] for pair in COUNTS.iter_unpack(raw[HEAD:])]
        spans = [self.span(index) for index in range(self.count)]
        return [min(done, end - first) for done, (first, end) in zip(counts, spans, strict=True)]


def sync_folder(folder: Path) -> None:
    """Writes a folder's entries to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def disk_error(path: Path, error: OSError) -> DownloadError:
    """Returns the error for a disk that cannot be written."""
    return DownloadError(
        f"cannot write {path}: {error.strerror or error}",
        "free space or repair the volume, then start the download again: it resumes",
    )


def _boot_id() -> str:
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
