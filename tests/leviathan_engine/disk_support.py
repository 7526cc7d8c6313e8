"""A made-up machine for the tests of the disk: sysfs, /dev and mountinfo as files below a folder."""

import os
import struct
from pathlib import Path

from leviathan_engine.machine import mount
from leviathan_engine.machine.disk import System

GB, TB = 10**9, 10**12
Steps = list[list[mount.Step]]


def xfs_head(label: str = "models", size: int = 4 * TB) -> bytes:
    """The first 120 bytes of an XFS file system with blocks of 4096 bytes."""
    head = bytearray(4096)
    head[:16] = b"XFSB" + struct.pack(">IQ", 4096, size // 4096)
    head[32:48] = bytes(range(16))
    head[108 : 108 + len(label)] = label.encode()
    return bytes(head)


def with_magic(at: int, magic: bytes) -> bytes:
    return bytes(at) + magic + bytes(64)


EXT4, GPT, MBR = with_magic(1080, b"\x53\xef"), with_magic(512, b"EFI PART"), with_magic(510, b"\x55\xaa")


class Machine:
    """A sysfs, a /dev of image files and a mountinfo below one folder, and a record of the mounts asked for."""

    def __init__(self, root: Path) -> None:
        self.sysfs, self.dev, self.info = root / "sys/class/block", root / "dev", root / "mountinfo"
        self.tree = root / "sys/devices"
        for folder in (self.sysfs, self.dev, self.tree):
            folder.mkdir(parents=True)
        self.info.write_text("22 1 0:21 / /proc rw,relatime - proc proc rw\n")
        self.steps: Steps = []
        self.errors: list[int] = []
        self.count = 0

    def add(self, name: str, size: int, head: bytes = b"", disk: str = "") -> None:
        """A disk, or a partition of `disk`."""
        folder = self.tree / disk / name if disk else self.tree / name
        folder.mkdir(parents=True)
        self.count += 1
        (folder / "size").write_text(f"{size // 512}\n")
        (folder / "dev").write_text(f"259:{self.count}\n")
        if disk:
            (folder / "partition").write_text("1\n")
        (self.sysfs / name).symlink_to(folder)
        (self.dev / name).write_bytes(head)

    def mounted(self, number: str, point: Path, root: str = "/") -> None:
        with self.info.open("a") as out:
            out.write(f"40 1 {number} {root} {point} rw,relatime shared:5 - xfs /dev/x rw\n")

    def run(self, steps: list[mount.Step]) -> None:
        self.steps.append(steps)
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, os.strerror(number))

    @property
    def system(self) -> System:
        return System(self.sysfs, self.dev, self.info, self.run)


def runbook_node(folder: Path) -> Machine:
    """The runbook's node: an NVMe of 4 TB with one XFS partition, and a small system disk."""
    made = Machine(folder)
    made.add("sda", 500 * GB, GPT)
    made.add("sda1", 499 * GB, EXT4, "sda")
    made.add("nvme0n1", 4 * TB, GPT)
    made.add("nvme0n1p1", 4 * TB - GB, xfs_head(), "nvme0n1")
    return made
