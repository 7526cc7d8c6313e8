"""Recognises what a block device holds by reading its first bytes, without udev or blkid, which a pod does not have.

Places and magic numbers are those of each file system's own on-disk format; XFS's from `struct xfs_dsb` in the kernel's
`xfs_format.h` (big-endian): magic at 0, block size at 4, data blocks at 8, UUID at 32, label at 108.
"""

import os
import struct
import uuid
from dataclasses import dataclass
from pathlib import Path

XFS_MAGIC = b"XFSB"
# Kind, place, bytes. A partition table comes last: a boot sector's mark also ends a FAT or NTFS boot sector.
SIGNATURES: tuple[tuple[str, int, bytes], ...] = (
    ("LUKS (encrypted)", 0, b"LUKS\xba\xbe"),
    ("ext4", 1024 + 56, b"\x53\xef"),
    ("btrfs", 65536 + 64, b"_BHRfS_M"),
    ("f2fs", 1024, b"\x10\x20\xf5\xf2"),
    ("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    ("squashfs", 0, b"hsqs"),
    ("LVM", 512 + 24, b"LVM2 001"),
    ("Linux RAID", 4096, b"\xfc\x4e\x2b\xa9"),
    ("swap", 4096 - 10, b"SWAPSPACE2"),
    ("NTFS", 3, b"NTFS    "),
    ("FAT", 82, b"FAT32   "),
    ("FAT", 54, b"FAT16   "),
    ("ISO 9660", 32768 + 1, b"CD001"),
    ("a GPT partition table", 512, b"EFI PART"),
    ("a GPT partition table", 4096, b"EFI PART"),
    ("an MBR partition table", 510, b"\x55\xaa"),
)
TABLES = frozenset({"a GPT partition table", "an MBR partition table"})
READ = 65536 + 128


@dataclass(frozen=True)
class Content:
    """What is on a device: `kind` is "xfs", another file system's name, or "" for unknown; `why` when it is unreadable.

    `size` is the file system's own idea of its size in bytes, 0 where it is not read.
    """

    kind: str
    label: str = ""
    uuid: str = ""
    size: int = 0
    why: str = ""


def probe(path: Path) -> Content:
    """What is on the device (or image file) at `path`. Never fails: what cannot be read says why."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as err:
        return Content("", why=err.strerror or str(err))
    try:
        head = os.pread(fd, READ, 0)
    except OSError as err:
        return Content("", why=err.strerror or str(err))
    finally:
        os.close(fd)
    return recognise(head)


def recognise(head: bytes) -> Content:
    """What the first bytes of a device say."""
    if head.startswith(XFS_MAGIC) and len(head) >= 120:
        block, blocks = struct.unpack_from(">IQ", head, 4)
        if 512 <= block <= 65536 and block & (block - 1) == 0:
            label = head[108:120].rstrip(b"\0").decode("utf-8", "replace")
            return Content("xfs", label, str(uuid.UUID(bytes=head[32:48])), block * blocks)
    for kind, at, magic in SIGNATURES:
        if head[at : at + len(magic)] == magic:
            return Content(kind)
    return Content("")
