"""Downloads files to a folder: several connections fetch one chunk each, and one thread hashes the files."""

import http.client
import json
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import DownloadError, SourceChanged, TransientError
from .part import Part, disk_error, sync_folder
from .progress import Progress
from .retry import Retry
from .source import RemoteFile, total_of
from .web import Web, host_of

#: File that lists the verified files: name → size, modification time in ns, SHA-256.
DONE = ".leviathan-download.json"
#: Bytes read from a connection at once.
PIECE = 1 << 20
#: A connection with fewer bytes per second than this, over SLOW_S seconds, is replaced by a new one.
SLOW_BYTES, SLOW_S = 16 << 10, 60.0
#: Bytes that stay free on the volume.
SPARE = 64 << 20


@dataclass(frozen=True)
class Settings:
    """Number of `connections`, `chunk` in bytes, seconds between `sync`s and between progress lines (`beat`)."""

    connections: int = 8
    chunk: int = 64 << 20
    sync_s: float = 30.0
    beat_s: float = 10.0


@dataclass
class Transfer:
    """One run over `files`, into `folder`."""

    files: Sequence[RemoteFile]
    folder: Path
    web: Web
    retry: Retry
    settings: Settings
    say: Callable[[str], None] = print
    failure: BaseException | None = None
    verified: dict[str, str] = field(default_factory=dict)

    def run(self) -> dict[str, str]:
        """Downloads what is missing; returns file name → SHA-256 of all files.

        Errors: DownloadError; SourceChanged if a file on the server has changed (its unfinished part is removed).
        """
        todo = [each for each in self.files if not self._done_before(each)]
        self._check_space(todo)
        parts: list[Part] = []
        try:
            for each in todo:
                parts.append(Part(each, self.folder, self.settings.chunk))
            self._all(parts)
        except OSError as error:
            raise disk_error(self.folder, error) from None
        finally:
            for part in parts:
                part.close()
        return dict(self.verified)

    def _all(self, parts: Sequence[Part]) -> None:
        before = sum(each.size for each in self.files) - sum(part.file.size - part.done for part in parts)
        total, names = sum(each.size for each in self.files), len(self.files)
        progress = Progress(total, names, before, self.settings.beat_s, self.say)
        chunks = deque((part, index) for part in parts for index in part.missing())
        workers = [
            threading.Thread(target=self._work, args=(chunks, progress), daemon=True)
            for _ in range(min(self.settings.connections, len(chunks)))
        ]
        hasher = threading.Thread(target=self._finish, args=(parts,), daemon=True)
        synced = time.monotonic()
        for thread in (*workers, hasher):
            thread.start()
        while hasher.is_alive():
            hasher.join(0.2)
            progress.beat(len(self.verified))
            if time.monotonic() - synced >= self.settings.sync_s and self.failure is None:
                synced = time.monotonic()
                self._guarded(lambda: self._sync(parts))
        for thread in workers:
            thread.join()
        if self.failure is not None:
            raise self.failure
        progress.last(len(self.verified))

    def _sync(self, parts: Sequence[Part]) -> None:
        for part in parts:
            if part.file.name not in self.verified:
                part.sync()

    def _work(self, chunks: "deque[tuple[Part, int]]", progress: Progress) -> None:
        """Runs one connection: fetches chunks until none is left, or until something has failed."""

        def all_chunks() -> None:
            while not self.retry.stop.is_set():
                try:
                    part, index = chunks.popleft()
                except IndexError:
                    return
                self._chunk(part, index, progress)

        self._guarded(all_chunks)

    def _chunk(self, part: Part, index: int, progress: Progress) -> None:
        """Fetches the rest of a chunk, with a new connection after each transient error."""
        failed = 0
        while not self.retry.stop.is_set():
            before = part.written[index]
            try:
                self._rest(part, index, progress)
                return
            except TransientError as error:
                failed = 1 if part.written[index] > before else failed + 1
                self.retry.wait(failed, error)

    def _rest(self, part: Part, index: int, progress: Progress) -> None:
        begin, end = part.span(index)
        if not part.file.ranges and part.written[index]:
            progress.add(-part.written[index])
            part.restart(index)
        first = begin + part.written[index]
        if first == end:
            return
        headers = {"Range": f"bytes={first}-{end - 1}"} if part.file.ranges else {}
        if headers and part.file.etag:
            headers["If_Range"] = part.file.etag
        with self.web.open(part.file.url, **headers) as answer:
            total = total_of(answer.headers.get("Content-Range", "")) if answer.status == 206 else answer.length
            if total is not None and total != part.file.size:
                raise SourceChanged(f"{part.file.name}: expected {part.file.size} bytes, got {total}")
            if headers and answer.status != 206:
                raise SourceChanged(f"{part.file.name}: the server has another version now (it sent the whole file)")
            since, window, buffer = time.monotonic(), 0, memoryview(bytearray(PIECE))
            while first < end:
                count = _take(answer, buffer[: end - first])
                if not count:
                    raise TransientError(
                        f"{host_of(part.file.url)}: the connection ended {end - first} bytes too early"
                    )
                part.write(index, buffer[:count])
                progress.add(count)
                first, window = first + count, window + count
                now = time.monotonic()
                if now - since >= SLOW_S:
                    if window < SLOW_BYTES * (now - since):
                        raise TransientError(f"{host_of(part.file.url)}: only {window} bytes in {now - since:.0f} s")
                    since, window = now, 0
                if self.retry.stop.is_set():
                    return

    def _finish(self, parts: Sequence[Part]) -> None:
        """Hashes every file as it grows, compares the hash, and renames the file to its final name."""

        def each_in_order() -> None:
            for part in parts:
                digest = part.digest(self.retry.stop)
                if part.file.sha256 and digest != part.file.sha256:
                    part.discard()
                    raise SourceChanged(f"{part.file.name}: expected SHA-256 {part.file.sha256}, got {digest}")
                part.publish()
                self._note(part.target, part.file.name, digest)

        self._guarded(each_in_order)

    def _guarded(self, work: Callable[[], object]) -> None:
        """Runs `work`; its error ends the whole run."""
        try:
            work()
        except BaseException as error:
            if self.failure is None or str(self.failure) == "stopped":
                self.failure = error
            self.retry.stop.set()

    def _note(self, target: Path, name: str, digest: str) -> None:
        """Records that a file is complete, for the next run and for the manifest."""
        self.verified[name] = digest
        path = self.folder / DONE
        known = _read_done(path)
        status = target.stat()
        known[name] = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": digest}
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
        sync_folder(self.folder)

    def _done_before(self, file: RemoteFile) -> bool:
        """Whether a file exists and is complete, from the record of an earlier run or by hashing it now."""
        target = self.folder / file.name
        try:
            status = target.stat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise disk_error(target, error) from None
        noted = _read_done(self.folder / DONE).get(file.name, {})
        same = (noted.get("size"), noted.get("mtime_ns")) == (status.st_size, status.st_mtime_ns)
        digest = str(noted.get("sha256", "")) if same else ""
        if status.st_size == file.size and not digest:
            self.say(f"{file.name} exists already, its SHA-256 is computed")
            digest = _hash(target)
            self._note(target, file.name, digest)
        if status.st_size != file.size or (file.sha256 and digest != file.sha256):
            raise DownloadError(
                f"{target} exists already with other content ({status.st_size} bytes, the source has {file.size})",
                "move the file away, or set engine.model_path to another folder",
            )
        self.verified[file.name] = digest
        return True

    def _check_space(self, todo: Sequence[RemoteFile]) -> None:
        """Checks that the volume has room for what is missing. Errors: DownloadError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        there = 0
        for each in todo:
            part = self.folder / f"{each.name}.part"
            there += min(part.stat().st_blocks * 512, each.size) if part.exists() else 0
        wanted = sum(each.size for each in todo) - there
        free = shutil.disk_usage(self.folder).free
        if todo and free < wanted + SPARE:
            raise DownloadError(
                f"{self.folder} has {free / 1e9:.1f} GB free, and {(wanted + SPARE) / 1e9:.1f} GB are still needed",
                "free space on the volume, or use a larger one (storage.size_gb)",
            )
        self.say(f"{wanted / 1e9:.1f} GB to download into {self.folder}, {free / 1e9:.1f} GB free")


def _take(answer: http.client.HTTPResponse, buffer: memoryview) -> int:
    """Reads available bytes into the buffer; returns their number, 0 at the end.

    Does not wait for a full buffer, because a time-out would lose the bytes. A body of known length is read from the
    underlying file, because http.client cannot read available bytes into a buffer.
    """
    if answer.length is not None and not answer.chunked and answer.fp is not None:
        return int(answer.fp.readinto1(buffer))
    piece = answer.read1(len(buffer))
    buffer[: len(piece)] = piece
    return len(piece)


def _read_done(path: Path) -> dict[str, dict[str, object]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {k: v for k, v in found.items() if isinstance(v, dict)} if isinstance(found, dict) else {}


def _hash(path: Path) -> str:
    import hashlib  # noqa: PLC0415 - only for files that another program downloaded

    try:
        with path.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise disk_error(path, error) from None
