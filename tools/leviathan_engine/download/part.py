"""A file under way: its bytes in NAME.part, and which of them are there in NAME.part.state, until it gets its name.

The state is a line of JSON, which file of which server this is, and after it two little-endian 64-bit counts for each
chunk: the bytes that were written, and those of them that were on the disk at the last fdatasync. The first count
survives the death of the process, because the kernel keeps what was written; after the death of the machine, which the
kernel's boot id shows, the second one holds.
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
#: Bytes kept for the state's first line.
HEAD = 4096
COUNTS = struct.Struct("<QQ")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
#: Bytes read at once for the hash: few enough to stay in a core's own cache between the copy and the hash.
PIECE = 256 << 10
#: Seconds between two looks of the hash at what has come.
LOOK_S = 0.02


class Part:
    """One file under way. Chunks are written by one thread each; `close` when it is not needed any more."""

    def __init__(self, file: RemoteFile, folder: Path, chunk: int) -> None:
        self.file = file
        self.target = folder / file.name
        self.path = self.target.with_name(self.target.name + ".part")
        self.state = self.target.with_name(self.target.name + ".part.state")
        self.chunk = chunk if file.ranges else max(file.size, 1)
        self.count = max(1, -(-file.size // self.chunk))
        self._whole = 0  # chunks from the start that are there
        self._turn = threading.Lock()  # the kernel lets one writer at a file at a time; the others would spin
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
        """The first byte of a chunk, and the first one after it."""
        return index * self.chunk, min((index + 1) * self.chunk, self.file.size)

    def missing(self) -> list[int]:
        """The chunks that are not whole, in order."""
        spans = [self.span(index) for index in range(self.count)]
        return [index for index, (first, end) in enumerate(spans) if self.written[index] < end - first]

    @property
    def done(self) -> int:
        """Bytes that are there."""
        return sum(self.written)

    def write(self, index: int, piece: memoryview) -> None:
        """Append to a chunk. Errors: DownloadError when the disk does not take it."""
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
        """Forget a chunk: the server cannot continue in its middle."""
        self.written[index] = 0
        os.pwrite(self._counts, COUNTS.pack(0, 0), HEAD + index * COUNTS.size)

    def prefix(self) -> int:
        """Bytes from the file's start without a gap. For one thread: it remembers how far it has looked."""
        while self._whole < self.count:
            first, end = self.span(self._whole)
            if self.written[self._whole] < end - first:
                return first + self.written[self._whole]
            self._whole += 1
        return self.file.size

    def digest(self, stop: threading.Event) -> str:
        """The SHA-256 of the file in hex; follows the download and ends soon after it. Errors: DownloadError."""
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
        """Bring what was written so far to the disk, and note that it is there. Errors: DownloadError."""
        written = list(self.written)
        try:
            os.fdatasync(self._data)
            for index, done in enumerate(written):
                os.pwrite(self._counts, struct.pack("<Q", done), HEAD + index * COUNTS.size + 8)
        except OSError as error:
            raise disk_error(self.path, error) from None

    def publish(self) -> None:
        """Give the whole file its name, in one step, and on the disk. Errors: DownloadError."""
        try:
            os.fsync(self._data)
            self.path.replace(self.target)
            sync_folder(self.target.parent)
            self.state.unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(self.path, error) from None

    def discard(self) -> None:
        """Remove what there is of the file."""
        self.state.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the files."""
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
            raise DownloadError(f"{self.file.name}: its address is longer than {HEAD} bytes", "choose another source")
        return line.ljust(HEAD, b"\0")

    def _kept(self) -> list[int] | None:
        """The counts of an earlier run, None where there are none, or they are of another file."""
        try:
            raw = self.state.read_bytes()
            then = json.loads(raw[:HEAD].split(b"\n")[0])
            now = json.loads(self._head().split(b"\n")[0])
        except (OSError, ValueError):
            return None
        same_boot = then.pop("boot", "") == now.pop("boot")
        # A digest names the content; the address of the same content may have changed.
        if then.get("sha256") and then.get("sha256") == now["sha256"]:
            then["url"], then["etag"] = now["url"], now["etag"]
        if then != now or len(raw) != HEAD + self.count * COUNTS.size:
            return None
        counts = [pair[0 if same_boot else 1] for pair in COUNTS.iter_unpack(raw[HEAD:])]
        spans = [self.span(index) for index in range(self.count)]
        return [min(done, end - first) for done, (first, end) in zip(counts, spans, strict=True)]


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def disk_error(path: Path, error: OSError) -> DownloadError:
    """The error of a disk that does not take what is written."""
    return DownloadError(f"{path}: {error.strerror or error}", "free space or mend the volume; the download resumes")


def _boot_id() -> str:
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""
