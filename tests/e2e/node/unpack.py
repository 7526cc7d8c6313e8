"""One layer's tar into one folder, in the form that overlayfs takes as a lower layer.

Source: the OCI image specification's layer.md (whiteouts), the kernel's overlayfs.rst (a character device 0:0 is a
whiteout, `trusted.overlay.opaque` hides what is below), and containerd, which makes missing parents like those below.
"""

import errno
import hashlib
import io
import os
import stat
import subprocess
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

ZSTD_MAGIC, GZIP_MAGIC = b"\x28\xb5\x2f\xfd", b"\x1f\x8b"
PIECE = 1 << 20
XATTR = "SCHILY.xattr."
MAX_LINKS = 40


class LayerError(Exception):
    """A layer that cannot be unpacked: says which entry and why."""


def unpack(blob: Path, target: Path, below: Sequence[Path]) -> str:
    """Unpacks the layer `blob` (tar, plain or gzip or zstd) into the empty folder `target`.

    `below`: the folders of the layers under it, lowest first. Returns the digest of the tar inside, `sha256:...`.
    Errors: LayerError for a broken layer and for an entry that leaves the folder, OSError for a full disk.
    """
    with blob.open("rb") as source:
        reader = _Reader(_decompressed(source))
        target.chmod(0o755)
        try:
            with tarfile.open(fileobj=reader, mode="r|", format=tarfile.PAX_FORMAT) as archive:
                layer = _Layer(target, below)
                for entry in archive:
                    layer.add(entry, archive)
                layer.finish()
        except (tarfile.TarError, zlib.error, EOFError) as err:
            raise LayerError(f"{blob.name}: {err}") from err
        while reader.read(PIECE):
            pass
    return f"sha256:{reader.digest.hexdigest()}"


class _Reader(io.RawIOBase):
    """A file that tarfile can read, over pieces of bytes; hashes what it hands out."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces, self._rest, self.digest = pieces, memoryview(b""), hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        parts: list[memoryview] = []
        while size:
            if not self._rest:
                piece = next(self._pieces, b"")
                if not piece:
                    break
                self._rest = memoryview(piece)
            taken = self._rest if size < 0 else self._rest[:size]
            self._rest = self._rest[len(taken) :]
            size = size if size < 0 else size - len(taken)
            self.digest.update(taken)
            parts.append(taken)
        return b"".join(parts)


class _Layer:
    """A folder into which entries are put, none outside of it."""

    def __init__(self, root: Path, below: Sequence[Path]) -> None:
        self._root, self._below = root, below
        self._times: list[tuple[Path, int]] = []

    def add(self, entry: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        parts = [part for part in entry.name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise LayerError(f"{entry.name}: leaves the layer")
        if not parts:
            self._dress(self._root, entry)
            return
        folder = self._folder(parts[:-1], entry.name)
        path = folder / parts[-1]
        if parts[-1] == ".wh..wh..opq":
            os.setxattr(folder, "trusted.overlay.opaque", b"y")
        elif parts[-1].startswith(".wh."):
            hidden = folder / parts[-1].removeprefix(".wh.")
            _clear(hidden)
            os.mknod(hidden, stat.S_IFCHR, 0)
        else:
            self._make(path, entry, archive)

    def finish(self) -> None:
        """Folders get their times last: putting something into one changes them."""
        for path, when in reversed(self._times):
            os.utime(path, (when, when), follow_symlinks=False)

    def _make(self, path: Path, entry: tarfile.TarInfo, archive: tarfile.TarFile) -> None:
        if entry.isdir():
            if not path.is_dir() or path.is_symlink():
                _clear(path)
                path.mkdir()
            self._dress(path, entry)
            return
        _clear(path)
        if entry.issym():
            path.symlink_to(entry.linkname)
        elif entry.islnk():
            parts = [part for part in entry.linkname.split("/") if part not in ("", ".")]
            if not parts or ".." in parts:
                raise LayerError(f"{entry.name}: links to {entry.linkname}, which leaves the layer")
            source = self._folder(parts[:-1], entry.name) / parts[-1]
            try:
                path.hardlink_to(source)
            except OSError as err:
                raise LayerError(f"{entry.name}: cannot link to {entry.linkname}: {err.strerror}") from err
            return
        elif entry.isfile():
            body = archive.extractfile(entry)
            assert body is not None
            with path.open("xb") as out:
                while piece := body.read(PIECE):
                    out.write(piece)
        elif entry.ischr() or entry.isblk():
            kind = stat.S_IFCHR if entry.ischr() else stat.S_IFBLK
            os.mknod(path, kind | entry.mode, os.makedev(entry.devmajor, entry.devminor))
        elif entry.isfifo():
            os.mkfifo(path)
        else:
            raise LayerError(f"{entry.name}: an entry of unknown type {entry.type!r}")
        self._dress(path, entry)

    def _dress(self, path: Path, entry: tarfile.TarInfo) -> None:
        os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        if not entry.issym():
            path.chmod(entry.mode & 0o7777)
        for key, value in entry.pax_headers.items():
            if key.startswith(XATTR):
                data = value.encode("utf-8", "surrogateescape")
                os.setxattr(path, key.removeprefix(XATTR), data, follow_symlinks=False)
        when = int(entry.mtime)
        if entry.isdir():
            self._times.append((path, when))
        else:
            os.utime(path, (when, when), follow_symlinks=False)

    def _folder(self, parts: Sequence[str], name: str) -> Path:
        """The folder at `parts`, made where it is missing; links on the way lead within the layer."""
        todo, path, links = list(parts), self._root, 0
        while todo:
            part = todo.pop(0)
            if part == "..":
                path = path if path == self._root else path.parent
                continue
            step = path / part
            if step.is_symlink():
                links += 1
                if links > MAX_LINKS:
                    raise LayerError(f"{name}: {os.strerror(errno.ELOOP)}")
                goal = os.readlink(step)  # noqa: PTH115 - Path would drop a leading "./" and keep ".."
                path = self._root if goal.startswith("/") else path
                todo = [p for p in goal.split("/") if p not in ("", ".")] + todo
                continue
            if not step.exists():
                step.mkdir(mode=0o755)
                self._like_below(step)
            elif not step.is_dir():
                raise LayerError(f"{name}: {part} is not a folder")
            path = step
        return path

    def _like_below(self, folder: Path) -> None:
        relative = folder.relative_to(self._root)
        for layer in reversed(self._below):
            try:
                found = (layer / relative).lstat()
            except OSError:
                continue
            if stat.S_ISDIR(found.st_mode):
                os.chown(folder, found.st_uid, found.st_gid)
                folder.chmod(stat.S_IMODE(found.st_mode))
                return


def _clear(path: Path) -> None:
    """Removes what an earlier entry of the same layer has put there."""
    if path.is_dir() and not path.is_symlink():
        for inner in path.iterdir():
            _clear(inner)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def _decompressed(source: IO[bytes]) -> Iterator[bytes]:
    magic = os.pread(source.fileno(), 4, 0)  # zstd gets the descriptor, so its place must not move
    if magic == ZSTD_MAGIC:
        return _zstd(source)
    pieces = iter(lambda: source.read(PIECE), b"")
    return _gunzip(pieces) if magic.startswith(GZIP_MAGIC) else pieces


def _gunzip(pieces: Iterable[bytes]) -> Iterator[bytes]:
    stream = zlib.decompressobj(31)
    for piece in pieces:
        rest = piece
        while rest:
            yield stream.decompress(rest)
            rest = stream.unused_data
            if stream.eof and rest:
                stream = zlib.decompressobj(31)
    if not stream.eof:
        raise EOFError("the gzip stream ends early")


def _zstd(source: IO[bytes]) -> Iterator[bytes]:
    argv, pipe = ["zstd", "-dc", "--long=31"], subprocess.PIPE
    with subprocess.Popen(argv, stdin=source, stdout=pipe, stderr=pipe) as p:
        assert p.stdout is not None
        assert p.stderr is not None
        try:
            while piece := p.stdout.read(PIECE):
                yield piece
        except GeneratorExit:
            p.kill()
            raise
        said = p.stderr.read().decode(errors="replace").strip()
        if p.wait() != 0:
            raise EOFError(f"zstd: {said}")
