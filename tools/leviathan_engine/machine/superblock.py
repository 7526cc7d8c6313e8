"""Recognises what a block device holds from its first bytes, without udev or blkid, which a pod does not have.

Offsets and magic numbers are those of each file system's on-disk format; XFS's from `struct xfs_dsb` in the kernel's
`xfs_format.h` (big-endian): magic at 0, block size at 4, data blocks at 8, UUID at 32, label at 108.
"""

import os
import struct
import uuid
from dataclasses import dataclass
from pathlib import Path

XFS_MAGIC = b"XFSB"
MD_MAGIC = b"\xfc\x4e\x2b\xa9"
# Kind, offset, bytes. Partition tables come last, because the signature of an MBR also ends a FAT or NTFS boot sector.
SIGNATURES: tuple[tuple[str, int, bytes], ...] = (
    ("LUKS (encrypted)", 0, b"LUKS\xba\xbe"),
    ("BitLocker (encrypted)", 3, b"-FVE-FS-"),
    ("dm-verity", 0, b"verity\0\0"),
    ("bcache", 4096 + 24, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")),
    ("ext4", 1024 + 56, b"\x53\xef"),
    ("btrfs", 65536 + 64, b"_BHRfS_M"),
    ("f2fs", 1024, b"\x10\x20\xf5\xf2"),
    ("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    ("squashfs", 0, b"hsqs"),
    *(("LVM", sector * 512 + 24, b"LVM2 001") for sector in range(4)),
    ("Linux RAID", 4096, MD_MAGIC),
    ("Linux RAID", 0, MD_MAGIC),
    ("swap", 4096 - 10, b"SWAPSPACE2"),
    ("NTFS", 3, b"NTFS    "),
    ("FAT", 82, b"FAT32   "),
    ("FAT", 54, b"FAT16   "),
    ("ISO 9660", 32768 + 1, b"CD001"),
    ("a GPT partition table", 512, b"EFI PART"),
    ("a GPT partition table", 4096, b"EFI PART"),
    ("an MBR partition table", 510, b"\x55\xaa"),
)
#: Containers: another device with the data is built on them, so they must not be formatted.
CONTAINERS = frozenset({"LUKS (encrypted)", "BitLocker (encrypted)", "dm-verity", "bcache", "LVM", "Linux RAID"})
TABLES = frozenset({"a GPT partition table", "an MBR partition table"})
READ = 65536 + 128


@dataclass(frozen=True)
class Content:
    """What is on a device: `kind` is "xfs", another file system's name, or "" for unknown; `why` it is unreadable.

    `size` in bytes is from the file system's superblock, 0 if it is not read.
    """

    kind: str
    label: str = ""
    uuid: str = ""
    size: int = 0
    why: str = ""


def probe(path: Path) -> Content:
    """Returns what is on the device (or image file) at `path`. Never raises: `why` has the reason of a failure."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as err:
        return Content("", why=err.strerror or str(err))
    try:
        head = os.pread(fd, READ, 0)
        mirrored = _raid_at_the_end(fd, os.lseek(fd, 0, os.SEEK_END))
    except OSError as err:
        return Content("", why=err.strerror or str(err))
    finally:
        os.close(fd)
    return Content("Linux RAID") if mirrored else recognise(head)


def _raid_at_the_end(fd: int, size: int) -> bool:
    """Whether the device ends with the superblock of an md member, whose first bytes may look like a file system.

    Version 1.0 is 8 KiB before the end, aligned to 4 KiB; 0.90 in the last whole 64 KiB; Intel's in the last 1 KiB.
    Source: md(4) and mdadm's super0.c, super1.c, super-intel.c.
    """
    places = (((size >> 9) - 16 & ~7) << 9, (size & ~0xFFFF) - 0x10000)
    if any(place > 0 and os.pread(fd, 4, place) == MD_MAGIC for place in places):
        return True
    return size > 1024 and os.pread(fd, 24, size - 1024) == b"Intel Raid ISM Cfg. Sig."


def recognise(head: bytes) -> Content:
    """Returns the content of a device whose first bytes are `head`."""
    if head.startswith(XFS_MAGIC) and len(head) >= 120:
        block, blocks = struct.unpack_from(">IQ", head, 4)
        if 512 <= block <= 65536 and block & (block - 1) == 0:
            label = head[108:120].rstrip(b"\0").decode("utf-8", "replace")
            return Content("xfs", label, str(uuid.UUID(bytes=head[32:48])), block * blocks)
    for kind, at, magic in SIGNATURES:
        if head[at : at + len(magic)] == magic:
            return Content(kind)
    return Content("")
