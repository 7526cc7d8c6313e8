"""A layer's tar stream: the same entries give the same bytes, wherever and whenever it runs."""

import os
import tarfile
from collections.abc import Callable, Iterable

from leviathan_image import SOURCE_DATE_EPOCH
from leviathan_image.errors import ImageError
from leviathan_image.tree import Entry, Kind

_TYPES = {Kind.DIRECTORY: tarfile.DIRTYPE, Kind.FILE: tarfile.REGTYPE, Kind.SYMLINK: tarfile.SYMTYPE}
_CHUNK = 4 << 20

Sink = Callable[[bytes | memoryview], object]


def header(entry: Entry) -> bytes:
    """The tar header of `entry`: POSIX.1-2001, so a pax record precedes it only where a field does not fit ustar
    (a long path, a file of 8 GiB or more). Owners are numbers, names empty, times `SOURCE_DATE_EPOCH`.
    """
    info = tarfile.TarInfo(entry.path)
    info.type = _TYPES[entry.kind]
    info.mode, info.uid, info.gid = entry.mode, entry.uid, entry.gid
    info.size, info.linkname, info.mtime = entry.size, entry.target, SOURCE_DATE_EPOCH
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def write_tar(entries: Iterable[Entry], sink: Sink) -> int:
    """Write the archive of `entries`, in their order, to `sink` and return its size in bytes.

    Every file is streamed in chunks of 4 MiB; nothing is written elsewhere. Raises ImageError where a file shrinks or
    grows while it is read.
    """
    buffer = memoryview(bytearray(_CHUNK))
    total = 0
    for entry in entries:
        head = header(entry)
        sink(head)
        total += len(head)
        if entry.source is not None:
            total += _copy(entry, buffer, sink)
    end = bytes(2 * tarfile.BLOCKSIZE)
    end += bytes(-(total + len(end)) % tarfile.RECORDSIZE)
    sink(end)
    return total + len(end)


def _copy(entry: Entry, buffer: memoryview, sink: Sink) -> int:
    """Stream one file's bytes and the padding to a block; the number of bytes written."""
    assert entry.source is not None
    left = entry.size
    handle = os.open(entry.source, os.O_RDONLY)
    try:
        while left:
            count = os.readv(handle, [buffer[: min(left, _CHUNK)]])
            if not count:
                break
            sink(buffer[:count])
            left -= count
        if left or os.read(handle, 1):
            raise ImageError(f"{entry.source} changed its size while it was read", "build the layer from a store path")
    finally:
        os.close(handle)
    padding = bytes(-entry.size % tarfile.BLOCKSIZE)
    sink(padding)
    return entry.size + len(padding)
