"""A GUID partition table with one partition, written into a file.

Format: UEFI specification 2.10, chapter 5: a protective MBR, a header of 92 bytes with CRC32, 128 entries of 128 bytes;
the same again at the end of the disk.
"""

import struct
import uuid
import zlib
from pathlib import Path

SECTOR = 512
ENTRIES, ENTRY = 128, 128
TABLE_SECTORS = ENTRIES * ENTRY // SECTOR
LINUX_DATA = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
FIRST = 2048  # sectors: 1 MiB, as every tool aligns
DISK_GUID = uuid.UUID("6c657669-6174-4861-8e00-000000000001")


def entries(first: int, last: int, name: str, own: uuid.UUID) -> bytes:
    """The table: one Linux partition `own` of the sectors `first` to `last`, the rest empty."""
    label = name.encode("utf-16-le")[:72].ljust(72, b"\0")
    one = LINUX_DATA.bytes_le + own.bytes_le + struct.pack("<QQQ", first, last, 0) + label
    return one.ljust(ENTRIES * ENTRY, b"\0")


def header(own: int, other: int, table: int, sectors: int, crc: int) -> bytes:
    """A header that lies at sector `own`, whose twin is at `other` and whose entries begin at `table`."""
    usable = (2 + TABLE_SECTORS, sectors - TABLE_SECTORS - 2)
    numbers = struct.pack("<QQQQ", own, other, *usable)
    tail = DISK_GUID.bytes_le + struct.pack("<QIII", table, ENTRIES, ENTRY, crc)

    def with_sum(value: int) -> bytes:
        return b"EFI PART" + struct.pack("<IIII", 0x00010000, 92, value, 0) + numbers + tail

    return with_sum(zlib.crc32(with_sum(0))).ljust(SECTOR, b"\0")


def write(disk: Path, own: uuid.UUID, name: str = "models") -> tuple[int, int]:
    """Write the table into `disk`: one partition `own` over all of it; the partition's offset and size in bytes."""
    sectors = disk.stat().st_size // SECTOR
    last = (sectors - TABLE_SECTORS - 2) // FIRST * FIRST - 1
    table = entries(FIRST, last, name, own)
    crc = zlib.crc32(table)
    protective = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, min(sectors - 1, 0xFFFFFFFF))
    with disk.open("r+b") as stream:
        stream.write(b"\0" * 446 + protective + b"\0" * 48 + b"\x55\xaa")
        stream.write(header(1, sectors - 1, 2, sectors, crc) + table)
        stream.seek((sectors - 1 - TABLE_SECTORS) * SECTOR)
        stream.write(table + header(sectors - 1, 1, sectors - 1 - TABLE_SECTORS, sectors, crc))
    return FIRST * SECTOR, (last + 1 - FIRST) * SECTOR
