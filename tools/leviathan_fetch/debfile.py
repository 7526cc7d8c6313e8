"""Read one file out of a Debian package, without dpkg.

Formats: deb(5) and ar(5): the magic line, then members with a 60-byte header; `data.tar` as xz, gz, bz2 or plain.
"""

import io
import lzma
import tarfile
import zlib
from pathlib import Path

from leviathan_fetch.errors import FetchError

MAGIC = b"!<arch>\n"
HEADER = 60


def ar_members(data: bytes) -> dict[str, bytes]:
    """Name → content of each member of an ar archive. Errors: ValueError when it is not a complete ar archive."""
    if not data.startswith(MAGIC):
        raise ValueError("it does not start with an ar header")
    members: dict[str, bytes] = {}
    at = len(MAGIC)
    while at < len(data):
        header = data[at : at + HEADER]
        if len(header) < HEADER or header[58:60] != b"`\n":
            raise ValueError(f"the ar header at byte {at} is broken")
        digits = header[48:58].strip()
        if not digits.isdigit():
            raise ValueError(f"the ar header at byte {at} has the size {digits!r}")
        size = int(digits)
        content = data[at + HEADER : at + HEADER + size]
        if len(content) < size:
            raise ValueError(f"the ar member at byte {at} is cut off")
        members[header[:16].decode("ascii").rstrip().rstrip("/")] = content
        at += HEADER + size + size % 2
    return members


def member(deb: Path, name: str) -> bytes:
    """The content of the file `name` (such as ``bin/busybox``) in the package `deb`.

    Errors: FetchError if `deb` is not a Debian package, or has no such file.
    """
    try:
        archives = [item for item in ar_members(deb.read_bytes()).items() if item[0].startswith("data.tar")]
        if not archives or archives[0][0].endswith(".zst"):
            raise ValueError("it has no data.tar that Python's standard library can read")
        with tarfile.open(fileobj=io.BytesIO(archives[0][1]), mode="r:*") as tar:
            for entry in tar:
                if entry.isfile() and entry.name.removeprefix("./") == name:
                    stream = tar.extractfile(entry)
                    return stream.read() if stream else b""
    except (ValueError, EOFError, tarfile.TarError, lzma.LZMAError, zlib.error) as error:
        raise FetchError(f"cannot unpack {deb.name}: {error}", "remove it and run fetch again") from None
    raise FetchError(f"{deb.name} has no file {name}", "make lock")
