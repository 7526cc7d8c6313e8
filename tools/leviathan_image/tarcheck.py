"""A layer's tar, read back: what would differ from build to build or from host to host is a finding."""

import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, cast

from leviathan_image import SOURCE_DATE_EPOCH
from leviathan_image.errors import ImageError
from leviathan_image.findings import Finding

_CHUNK = 1 << 20


class HashedStream:
    """A stream that hashes what passes through `read`: `digest()` and `size` (bytes) of what was read so far."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.size = 0

    def read(self, count: int = _CHUNK) -> bytes:
        """The next `count` bytes, fewer only at the end (a pipe gives less at a time)."""
        parts = []
        left = count
        while left and (part := self._stream.read(left)):
            parts.append(part)
            left -= len(part)
        data = b"".join(parts)
        self._hash.update(data)
        self.size += len(data)
        return data

    def digest(self) -> str:
        """`sha256:<hex>` of everything read; drain the stream first."""
        return f"sha256:{self._hash.hexdigest()}"


@dataclass(frozen=True, slots=True)
class TarReport:
    """What a tar stream is: digest and size in bytes, number of members, findings about it."""

    digest: str
    size: int
    members: int
    findings: tuple[Finding, ...]


def members(stream: IO[bytes] | HashedStream) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """The members of a tar stream in order. Raises ImageError where it is damaged."""
    try:
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|", bufsize=_CHUNK) as archive:
            for member in archive:
                yield archive, member
                archive.members = []  # type: ignore[attr-defined]  # or the index of a long stream stays in memory
    except tarfile.TarError as error:
        raise ImageError(f"the layer is not a readable tar: {error}", "make the layer again") from error


def check_tar(stream: IO[bytes], layer: str) -> TarReport:
    """Read the whole stream and judge every header: sorted once by path bytes, parents first, the constant time,
    numeric owners without names, only files, folders and symbolic links, no stray pax records.
    """
    hashed = HashedStream(stream)
    findings: list[Finding] = []
    folders: set[str] = set()
    last = b""
    count = 0

    def complain(path: str, what: str) -> None:
        findings.append(Finding("tar", f"{layer}:/{path}", what, "make the layer again"))

    for _, member in members(hashed):
        count += 1
        path = member.name
        name = path.encode(errors="surrogateescape")
        if name <= last:
            complain(path, "out of order, or twice")
        last = name
        if path.startswith(("/", "./")) or "/../" in f"/{path}/":
            complain(path, "not a plain relative path")
        if (parent := path.rpartition("/")[0]) and parent not in folders:
            complain(path, "its folder does not come before it")
        if member.isdir():
            folders.add(path)
        elif not (member.isreg() or member.issym()):
            complain(path, f"member type {member.type!r}: only files, folders and symbolic links belong in a layer")
        if member.mtime != SOURCE_DATE_EPOCH:
            complain(path, f"expected the time {SOURCE_DATE_EPOCH}, got {member.mtime}")
        if member.uname or member.gname:
            complain(path, f"expected only numeric owners, got the names {member.uname!r}, {member.gname!r}")
        if extra := sorted(set(member.pax_headers) - {"path", "linkpath", "size"}):
            complain(path, f"pax records {', '.join(extra)}")
    while hashed.read():
        pass
    return TarReport(hashed.digest(), hashed.size, count, tuple(findings))
