"""A disk for the node: a loop device with a GPT and XFS partitions, as the runbook's NVMe has them.

Source of the table's form: UEFI specification 2.10, section 5.3 (GPT disk layout). The table is written here, so no
partitioning program is needed; the kernel reads it like any other disk's.
"""

import os
import shutil
import struct
import subprocess
import time
import uuid
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECTOR, ENTRIES, ENTRY = 512, 128, 128
MIB = 1 << 20
LINUX_DATA = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
PROGRAMS = {"losetup": "mount", "mkfs.xfs": "xfsprogs", "mount": "mount", "umount": "mount"}
# mkfs.xfs refuses file systems below 300 MB.
LEAST = 320 * MIB
WAIT_S = 10.0


class DiskError(Exception):
    """What could not be done, and what would help; one line."""


@dataclass(frozen=True)
class LoopDisk:
    """`device` is the whole disk, `partitions` its partitions in order, `image` the file behind it."""

    device: Path
    partitions: tuple[Path, ...]
    image: Path

    @contextmanager
    def mounted(self, point: Path, number: int = 1) -> Iterator[Path]:
        """Mounts partition `number` writable at `point`, for putting files on it. Errors: DiskError."""
        point.mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", "xfs", str(self.partitions[number - 1]), str(point))
        try:
            yield point
        finally:
            _run("umount", str(point))


def gpt(size: int, parts: Sequence[int]) -> dict[int, bytes]:
    """What to write at which byte of a disk of `size` bytes for partitions of `parts` bytes each, 1 MiB apart.

    Errors: DiskError when they do not fit.
    """
    last, at, entries = size // SECTOR - 1, 2048, b""
    table_sectors = ENTRIES * ENTRY // SECTOR
    for number, part in enumerate(parts, 1):
        end = at + part // SECTOR - 1
        if end > last - table_sectors - 1:
            raise DiskError(f"partition {number} of {part} bytes ends behind the disk's {size} bytes; make it smaller")
        own = uuid.uuid5(uuid.NAMESPACE_OID, f"leviathan {size} {number}").bytes_le
        name = f"models{number}".encode("utf-16-le").ljust(72, b"\0")
        entries += LINUX_DATA.bytes_le + own + struct.pack("<QQQ", at, end, 0) + name
        at = -(-(end + 1) // 2048) * 2048
    entries = entries.ljust(ENTRIES * ENTRY, b"\0")
    disk = uuid.uuid5(uuid.NAMESPACE_OID, f"leviathan {size}").bytes_le

    def header(here: int, there: int, table: int) -> bytes:
        def packed(checksum: int) -> bytes:
            head = struct.pack("<8sIIIIQQQQ", b"EFI PART", 0x10000, 92, checksum, 0, here, there, 34, last - 33)
            return head + disk + struct.pack("<QIII", table, ENTRIES, ENTRY, zlib.crc32(entries))

        return packed(zlib.crc32(packed(0))).ljust(SECTOR, b"\0")

    protective = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, min(last, 0xFFFFFFFF))
    mbr = bytes(446) + protective.ljust(64, b"\0") + b"\x55\xaa"
    front = mbr + header(1, last, 2) + entries
    return {0: front, (last - table_sectors) * SECTOR: entries + header(last, 1, last - table_sectors)}


@contextmanager
def loop_disk(image: Path, parts: Sequence[int] = (LEAST,), *, formatted: bool = True) -> Iterator[LoopDisk]:
    """A loop device over the sparse file `image` (made anew) with a GPT and a partition of each size in bytes.

    `formatted`: with XFS on each. The device is gone afterwards, the file stays. Errors: DiskError.
    """
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            raise DiskError(f"no {program} on this machine: apt-get install {package}")
    size = sum(-(-part // MIB) * MIB for part in parts) + 2 * MIB
    with image.open("wb") as file:
        file.truncate(size)
        for place, data in gpt(size, parts).items():
            file.seek(place)
            file.write(data)
    device = Path(_run("losetup", "--find", "--show", "--partscan", str(image)))
    try:
        partitions = tuple(_partition(device, number) for number in range(1, len(parts) + 1))
        for partition in partitions if formatted else ():
            _run("mkfs.xfs", "-q", "-f", str(partition))
        yield LoopDisk(device, partitions, image)
    finally:
        if shutil.which("partx"):
            subprocess.run(["partx", "--delete", str(device)], check=False, capture_output=True, timeout=30)
        _run("losetup", "--detach", str(device))
        for number in range(1, len(parts) + 1):
            # Only where the node was ours: devtmpfs takes its own away.
            node = Path(f"{device}p{number}")
            if node.exists() and not Path(f"/sys/class/block/{node.name}").exists():
                node.unlink()


def _partition(device: Path, number: int) -> Path:
    """The partition's node: by the kernel, by partx on a kernel that reads no tables, by mknod without devtmpfs."""
    node, shown = Path(f"{device}p{number}"), Path(f"/sys/class/block/{device.name}p{number}/dev")
    if not shown.exists() and shutil.which("partx"):
        subprocess.run(["partx", "--add", str(device)], check=False, capture_output=True, timeout=30)
    deadline = time.monotonic() + WAIT_S
    while not node.exists() and time.monotonic() < deadline:
        if shown.exists():
            major, minor = shown.read_text().strip().split(":")
            try:
                os.mknod(node, 0o60660, os.makedev(int(major), int(minor)))
            except FileExistsError:
                break
        time.sleep(0.1)
    if not node.exists():
        raise DiskError(f"the kernel shows no partition {number} on {device}: it was built without partition tables")
    return node


def _run(*argv: str) -> str:
    try:
        done = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=120)
    except subprocess.CalledProcessError as err:
        words = (err.stderr.strip().splitlines() or ["without a word"])[-1]
        raise DiskError(f"{' '.join(argv)} failed: {words}; this needs root and loop devices") from err
    return done.stdout.strip()
