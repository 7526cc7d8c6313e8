"""Mounts the model's partition read-only: the configured one, or the only one that fits.

A partition fits if it has at least `least` bytes and XFS on it. If none or several fit, the start ends with an error
that lists what was found. (The runbook took the first disk of 3.5 TB or more, appended `p1` to its name, and continued
when the mount failed.)
"""

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from leviathan_engine.errors import DiskError
from leviathan_engine.machine import mount
from leviathan_engine.machine.blockdev import (
    DEV,
    MOUNTINFO,
    SYSFS,
    BlockDevice,
    Mount,
    devices,
    human,
    mounted_at,
    mounts,
)
from leviathan_engine.machine.superblock import CONTAINERS

#: Devices of device-mapper (LVM, dm-crypt) and of md (RAID), which need no partition table.
STACKED = ("dm-", "md")
#: File systems whose recognised name is also their name for mount(2).
KNOWN = frozenset({"xfs", "ext4", "btrfs", "f2fs", "erofs", "squashfs"})
HARM = "do not format or partition it: that destroys the data in it"
#: How to open a container such as LUKS on the node.
OPEN = {
    "LUKS (encrypted)": "open it on the node (cryptsetup open), and set storage.partition to /dev/mapper/NAME",
    "LVM": "activate it on the node (vgchange -ay), and set storage.partition to the logical volume,"
    " /dev/mapper/GROUP-VOLUME",
    "Linux RAID": "assemble it on the node (mdadm --assemble --scan), and set storage.partition to /dev/mdN",
}
NOT_EMPTY = (
    "set storage.partition to the partition with the model; do not partition or format this disk: it is not empty, and "
    "that destroys the data on it"
)
LEAST = 3_500_000_000_000  # the runbook's threshold, in bytes


@dataclass(frozen=True)
class Disk:
    """The mount point of the model's disk, and what was done, such as "already mounted (xfs)"."""

    point: Path
    how: str


@dataclass(frozen=True)
class System:
    """The paths that are read, and the function that mounts; tests replace them."""

    sysfs: Path = SYSFS
    dev: Path = DEV
    mountinfo: Path = MOUNTINFO
    run: Callable[[list[mount.Step]], None] = mount.run


def provide(
    point: Path, device: Path | None = None, least: int = LEAST, system: System | None = None, kind: str = "xfs"
) -> Disk:
    """Makes sure that the model's partition is mounted at `point`.

    Arguments: `device`, the configured partition, None to search for one; `least`, the minimum size in bytes for the
    search; `kind`, the file system of the configured partition. Keeps what is already mounted at `point`. Errors:
    DiskError, also if another device than the configured one is mounted there.
    """
    system = system or System()
    table = mounts(system.mountinfo)
    here = mounted_at(point, table)
    if here is not None and device is None:
        return Disk(point, f"already mounted ({here.kind})")
    found = devices(system.sysfs, system.dev)
    chosen = find(found, least) if device is None else configured(device, found, system.dev, kind, system.sysfs)
    if here is not None:
        if here.number != chosen.number:
            raise DiskError(
                f"{point}: expected {chosen.path} ({chosen.number}) to be mounted here, got another device"
                f" ({here.number})",
                f"unmount {point} on the node, or correct storage.partition",
            )
        return Disk(point, f"already mounted ({chosen.describe()})")
    return _mount(chosen, point, table, system, kind)


def find(found: Sequence[BlockDevice], least: int = LEAST) -> BlockDevice:
    """Returns the only XFS partition of at least `least` bytes. Errors: DiskError if there is none or several."""
    large = [d for d in found if d.size >= least and d.content.kind == "xfs" and not d.holders]
    fitting = [d for d in large if d.partition and not d.name.startswith(STACKED)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DiskError(
            f"expected one XFS partition of {human(least)} or more, got {len(fitting)}: {_list(fitting)}",
            f"set storage.partition to the one with the model: {' or '.join(str(d.path) for d in fitting)}",
        )
    others = [d for d in large if d not in fitting]
    remedy = "set storage.partition, or check that the pod is privileged and that the disk is in this node"
    if others:
        remedy = f"set storage.partition to {' or '.join(str(d.path) for d in others)}"
    elif hidden := next((d for d in found if d.size >= least and (d.holders or d.content.kind in CONTAINERS)), None):
        remedy = _behind(hidden, found)
    raise DiskError(f"no XFS partition of {human(least)} or more; found: {_list(found)}", remedy)


def configured(
    device: Path, found: Sequence[BlockDevice], dev: Path = DEV, kind: str = "xfs", sysfs: Path = SYSFS
) -> BlockDevice:
    """Returns the configured device, if it is a partition, device-mapper or md device with the file system `kind`.

    Errors: DiskError, which says what it is instead.
    """
    resolved = mapped(device, dev, sysfs) or device.resolve()
    match = next((d for d in found if d.path in (device, resolved) or d.path.resolve() == resolved), None)
    if match is None:
        raise DiskError(f"{device} is not a block device of this node; found: {_list(found)}", _absent(device, dev))
    if match.holders or match.content.kind in CONTAINERS:
        what = match.content.kind or "a member of another device"
        held = f" and is part of {' and '.join(match.holders)}" if match.holders else ""
        raise DiskError(f"{device} holds {what}{held}, not a file system that can be mounted", _behind(match, found))
    if not match.partition and not match.name.startswith(STACKED):
        parts = [d for d in found if d.partition and d.disk == match.name]
        better = next((d for d in parts if d.content.kind == kind), None)
        wanted = "XFS" if kind == "xfs" else kind
        empty = not parts and not match.content.kind and not match.content.why
        remedy = f"create a partition with {wanted} on it, and set storage.partition to it" if empty else NOT_EMPTY
        remedy = f"set storage.partition to {better.path}" if better else remedy
        raise DiskError(
            f"expected a partition such as {dev / 'nvme0n1p1'}, got the whole disk {device} ({match.describe()});"
            f" its partitions: {_list(parts) if parts else 'none'}",
            remedy,
        )
    if match.content.kind != kind and (kind in KNOWN or match.content.kind in KNOWN or not _may_be_mounted(match)):
        what = match.content.kind or match.content.why or "an unknown file system"
        remedy = "set storage.partition to the partition with the model"
        if match.content.kind in KNOWN:
            remedy += f', or set storage.filesystem = "{match.content.kind}"'
        wanted = "XFS" if kind == "xfs" else kind
        raise DiskError(f"{device}: expected {wanted} on it, got {what}; found: {_list(found)}", remedy)
    return match


def _behind(member: BlockDevice, found: Sequence[BlockDevice]) -> str:
    """Returns the remedy for a device that is part of another one: use that one, and do not damage the data."""
    tops = [d for d in found if d.name in member.holders]
    while deeper := [d for d in found for top in tops if d.name in top.holders and d not in tops]:
        tops = deeper
    if member.holders:
        names = " or ".join(str(d.path) for d in tops) or " or ".join(member.holders)
        return (
            f"set storage.partition to the device that is built on it: {names}; do not format or partition"
            f" {member.path}, it is in use"
        )
    opened = "open it on the node, and set storage.partition to the device that appears"
    return f"{OPEN.get(member.content.kind, opened)}; {HARM}"


def mapped(device: Path, dev: Path = DEV, sysfs: Path = SYSFS) -> Path | None:
    """Returns the kernel's name of a device below /dev/mapper, because a container lacks these links; else None."""
    if device.parent != dev / "mapper":
        return None
    for entry in sorted(sysfs.glob("dm-*")):
        try:
            if (entry / "dm" / "name").read_text(encoding="utf-8").strip() == device.name:
                return dev / entry.name
        except OSError:
            continue
    return None


def _may_be_mounted(device: BlockDevice) -> bool:
    """Whether the content may be a file system that the kernel knows by another name, such as vfat."""
    return device.content.kind in ("", "FAT", "NTFS", "ISO 9660") and not device.content.why


def _mount(device: BlockDevice, point: Path, table: Sequence[Mount], system: System, kind: str) -> Disk:
    whole = next((m for m in table if m.number == device.number and m.root == "/"), None)
    try:
        point.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise DiskError(
            f"cannot create the mount point {point}: {err.strerror}", "set storage.mount_point to another folder"
        ) from err
    try:
        if whole is not None:
            system.run(mount.bind_read_only(whole.point, point))
            return Disk(point, f"bind-mounted from {whole.point} ({device.describe()})")
        try:
            system.run(mount.read_only(device.path, point, kind))
        except OSError as err:
            if err.errno != errno.EBUSY:
                raise
            system.run(mount.join_read_only(device.path, point, kind))
            return Disk(
                point, f"mounted read-only; it is also mounted for writing somewhere else ({device.describe()})"
            )
    except OSError as err:
        raise mount.explain(err, device.path, point) from err
    return Disk(point, f"mounted ({device.describe()})")


def _absent(device: Path, dev: Path) -> str:
    """Returns the remedy for a device that does not exist.

    A container runtime creates the node's device files in a privileged container, but not the links
    (containerd, pkg/cri and oci: HostDevices), so udev's names below /dev/disk are missing there.
    """
    if device.is_relative_to(dev / "disk") and not (dev / "disk").exists():
        return (
            f"a container has no {dev / 'disk'}: set storage.partition to the kernel's name, such as"
            f" {dev / 'nvme0n1p1'}"
        )
    return "list the node's devices with lsblk, and correct storage.partition"


def _list(found: Sequence[BlockDevice]) -> str:
    """Describes the devices that were found, largest first, at most eight."""
    order = sorted(found, key=lambda d: (-d.size, d.name))
    more = f" and {len(order) - 8} more" if len(order) > 8 else ""
    return (", ".join(d.describe() for d in order[:8]) or "no block device") + more
