"""Lists the machine's block devices, from sysfs, and its mounts, from mountinfo."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leviathan_engine.errors import DiskError
from leviathan_engine.machine.superblock import Content, probe

SYSFS = Path("/sys/class/block")
DEV = Path("/dev")
MOUNTINFO = Path("/proc/self/mountinfo")
SECTOR = 512  # sysfs always counts in sectors of 512 bytes, whatever the disk's own sector size is


@dataclass(frozen=True)
class BlockDevice:
    """A disk or partition: `size` in bytes, `number` as major:minor, `disk` the disk that a partition is on.

    `holders` are the kernel's names of the devices that are built on it (LVM, LUKS, RAID, multipath). `stack` is the
    kind and the name of a device that is itself built on others, such as `LVM vg-lv`, "" for others.
    """

    name: str
    path: Path
    size: int
    number: str
    partition: bool
    disk: str
    content: Content
    holders: tuple[str, ...] = ()
    stack: str = ""

    def describe(self) -> str:
        """Returns a description for messages, such as `nvme0n1p1 3.7 TB xfs "models"`."""
        what = self.content.kind or (f"unreadable ({self.content.why})" if self.content.why else "unknown content")
        label = f' "{self.content.label}"' if self.content.label else ""
        kind = "" if self.partition else f"{self.stack} with " if self.stack else "whole disk with "
        member = f", part of {' and '.join(self.holders)}" if self.holders else ""
        return f"{self.name} {human(self.size)} {kind}{what}{label}{member}"


@dataclass(frozen=True)
class Mount:
    """A line of mountinfo: the folder `root` of the file system on device `number` is mounted at `point`."""

    number: str
    root: str
    point: Path
    kind: str


def devices(sysfs: Path = SYSFS, dev: Path = DEV) -> list[BlockDevice]:
    """Returns all disks and partitions that have a size, by name. Leaves out devices that disappear meanwhile.

    Errors: DiskError if the kernel's list cannot be read.
    """
    try:
        entries = sorted(sysfs.iterdir())
    except OSError as err:
        raise DiskError(
            f"cannot list the block devices: {sysfs}: {err.strerror}", "mount /sys in the container"
        ) from err
    found: list[BlockDevice] = []
    for entry in entries:
        try:
            size = int((entry / "size").read_text()) * SECTOR
            number = (entry / "dev").read_text().strip()
        except (OSError, ValueError):
            continue
        if size <= 0:
            continue
        partition = (entry / "partition").exists()
        disk = entry.resolve().parent.name if partition else entry.name
        path = dev / entry.name.replace("!", "/")
        content, holders, stack = probe(path), _names(entry / "holders"), _stack(entry)
        found.append(BlockDevice(entry.name, path, size, number, partition, disk, content, holders, stack))
    return found


def _names(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(each.name for each in folder.iterdir()))
    except OSError:
        return ()


def _stack(entry: Path) -> str:
    """Returns kind and name of a device-mapper or md device: `LVM vg-lv`, `LUKS models`, `RAID md0`."""
    if (entry / "md").exists():
        return f"RAID {entry.name}"
    try:
        name, uuid = ((entry / "dm" / each).read_text(encoding="utf-8").strip() for each in ("name", "uuid"))
    except (OSError, UnicodeDecodeError):
        return ""
    kinds = {"LVM-": "LVM", "CRYPT-LUKS": "LUKS", "mpath-": "multipath"}
    kind = next((word for start, word in kinds.items() if start in uuid.removeprefix("part1-")), "mapped device")
    return f"{kind} {name}"


def mounts(mountinfo: Path = MOUNTINFO) -> list[Mount]:
    """Returns the mounts of this namespace (proc(5), mountinfo), in order."""
    out: list[Mount] = []
    for line in mountinfo.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        fields = line.split(" ")
        if "-" not in fields[6:]:
            continue
        kind = fields[fields.index("-", 6) + 1]
        out.append(Mount(fields[2], _plain(fields[3]), Path(_plain(fields[4])), kind))
    return out


def mounted_at(point: Path, table: Sequence[Mount]) -> Mount | None:
    """Returns the topmost mount at `point`, None if nothing is mounted there."""
    return next((m for m in reversed(table) if m.point == point), None)


def human(size: int) -> str:
    """Formats bytes as `3.7 TB`, with decimal units as on a disk's label."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _plain(field: str) -> str:
    """Decodes a field of mountinfo, which escapes white space as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), field)
