"""Brings the model's disk to its mount point, read-only: the configured partition, or the one that fits.

The runbook took the first disk of 3.5 TB and more, added `p1` to its name, and went on when the mount failed. Here the
partition is recognised by what it is: a partition, at least `least` bytes, with XFS on it. Anything else stops the
start and says what was found.
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
from leviathan_engine.machine.superblock import CONTAINERS, TABLES

#: Devices of device-mapper (LVM, dm-crypt) and of md (RAID), which need no partition table.
STACKED = ("dm-", "md")
#: File systems that are recognised by the name that mount(2) takes.
KNOWN = frozenset({"xfs", "ext4", "btrfs", "f2fs", "erofs", "squashfs"})
HARM = "to format or partition it would destroy what is in it"
#: How a container is opened on the node.
OPEN = {
    "LUKS (encrypted)": "open it on the node (cryptsetup open), and configure /dev/mapper/NAME",
    "LVM": "activate it on the node (vgchange -ay), and configure the logical volume, /dev/mapper/GROUP-VOLUME",
    "Linux RAID": "assemble it on the node (mdadm --assemble --scan), and configure /dev/mdN",
}
NOT_EMPTY = (
    "configure a partition with the model on it; this disk is not empty: to partition or format it would destroy what "
    "is on it"
)
LEAST = 3_500_000_000_000  # the runbook's threshold, in bytes


@dataclass(frozen=True)
class Disk:
    """Where the model's disk is: the mount point, and what was done ("already mounted", "mounted nvme0n1p1 ...")."""

    point: Path
    how: str


@dataclass(frozen=True)
class System:
    """The places that are looked at, and how mounting is done; replaced in tests."""

    sysfs: Path = SYSFS
    dev: Path = DEV
    mountinfo: Path = MOUNTINFO
    run: Callable[[list[mount.Step]], None] = mount.run


def provide(
    point: Path, device: Path | None = None, least: int = LEAST, system: System | None = None, kind: str = "xfs"
) -> Disk:
    """Makes sure that the model's partition is mounted at `point`.

    Arguments: `device`, the configured partition, None to look for it; `least`, its size in bytes when looking; `kind`,
    the file system of the configured partition.
    What is mounted at `point` already is taken as it is, unless another device is configured. Errors: DiskError.
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
                f"{point} has another device mounted ({here.number}) than {chosen.path} ({chosen.number})",
                "unmount it, or correct the configured device",
            )
        return Disk(point, f"already mounted ({chosen.describe()})")
    return _mount(chosen, point, table, system, kind)


def find(found: Sequence[BlockDevice], least: int = LEAST) -> BlockDevice:
    """The one XFS partition of at least `least` bytes. Errors: DiskError with what was found, for none or several."""
    large = [d for d in found if d.size >= least and d.content.kind == "xfs" and not d.holders]
    fitting = [d for d in large if d.partition and not d.name.startswith(STACKED)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DiskError(
            f"{len(fitting)} XFS partitions of {human(least)} or more: {_list(fitting)}",
            f"configure the device: {' or '.join(str(d.path) for d in fitting)}",
        )
    others = [d for d in large if d not in fitting]
    remedy = "configure the device, or see that the pod is privileged and the disk is in this node"
    if others:
        remedy = f"configure the device: {' or '.join(str(d.path) for d in others)}"
    elif hidden := next((d for d in found if d.size >= least and (d.holders or d.content.kind in CONTAINERS)), None):
        remedy = _behind(hidden, found)
    raise DiskError(f"no XFS partition of {human(least)} or more; found: {_list(found)}", remedy)


def configured(
    device: Path, found: Sequence[BlockDevice], dev: Path = DEV, kind: str = "xfs", sysfs: Path = SYSFS
) -> BlockDevice:
    """The configured device, if it is a partition, a device-mapper or an md device with the file system `kind`.

    Errors: DiskError with what it is instead.
    """
    resolved = mapped(device, dev, sysfs) or device.resolve()
    match = next((d for d in found if d.path in (device, resolved) or d.path.resolve() == resolved), None)
    if match is None:
        raise DiskError(f"{device} is no block device of this node; found: {_list(found)}", _absent(device, dev))
    if match.holders or match.content.kind in CONTAINERS:
        what = match.content.kind or "a member of another device"
        held = f" and is part of {' and '.join(match.holders)}" if match.holders else ""
        raise DiskError(f"{device} holds {what}{held}, not a file system that can be mounted", _behind(match, found))
    if not match.partition and not match.name.startswith(STACKED):
        parts = [d for d in found if d.partition and d.disk == match.name]
        better = next((d for d in parts if d.content.kind == kind), None)
        wanted = "XFS" if kind == "xfs" else kind
        empty = not parts and not match.content.kind and not match.content.why
        remedy = f"make a partition with {wanted} on it and configure that" if empty else NOT_EMPTY
        remedy = f"configure {better.path}" if better else remedy
        raise DiskError(f"{device} is a whole disk ({match.describe()}), with partitions: {_list(parts)}", remedy)
    if match.content.kind != kind and (kind in KNOWN or match.content.kind in KNOWN or not _may_be_mounted(match)):
        what = match.content.kind or match.content.why or "an unknown file system"
        verb = "holds" if match.content.kind in TABLES else "has"
        remedy = "configure the XFS partition"
        if match.content.kind in KNOWN:
            remedy += f", or set storage.filesystem = {match.content.kind}"
        wanted = "XFS" if kind == "xfs" else kind
        raise DiskError(f"{device} {verb} {what}, not {wanted}; found: {_list(found)}", remedy)
    return match


def _behind(member: BlockDevice, found: Sequence[BlockDevice]) -> str:
    """How to come to what a member holds, without harm to it."""
    tops = [d for d in found if d.name in member.holders]
    while deeper := [d for d in found for top in tops if d.name in top.holders and d not in tops]:
        tops = deeper
    if member.holders:
        names = " or ".join(str(d.path) for d in tops) or " or ".join(member.holders)
        return f"configure what is made of it: {names}; make nothing on {member.path}, it is in use"
    return f"{OPEN.get(member.content.kind, 'open it on the node, and configure what comes out')}; {HARM}"


def mapped(device: Path, dev: Path = DEV, sysfs: Path = SYSFS) -> Path | None:
    """The kernel's name of a device below /dev/mapper, whose links a container does not have; None for any other."""
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
    """Whether what was recognised can be a file system that the kernel knows by another name, such as vfat."""
    return device.content.kind in ("", "FAT", "NTFS", "ISO 9660") and not device.content.why


def _mount(device: BlockDevice, point: Path, table: Sequence[Mount], system: System, kind: str) -> Disk:
    whole = next((m for m in table if m.number == device.number and m.root == "/"), None)
    try:
        point.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise DiskError(f"{point}: the mount point cannot be made: {err.strerror}", "give another mount point") from err
    try:
        if whole is not None:
            system.run(mount.bind_read_only(whole.point, point))
            return Disk(point, f"bound from {whole.point} ({device.describe()})")
        try:
            system.run(mount.read_only(device.path, point, kind))
        except OSError as err:
            if err.errno != errno.EBUSY:
                raise
            system.run(mount.join_read_only(device.path, point, kind))
            return Disk(point, f"mounted read-only beside a writer elsewhere ({device.describe()})")
    except OSError as err:
        raise mount.explain(err, device.path, point) from err
    return Disk(point, f"mounted ({device.describe()})")


def _absent(device: Path, dev: Path) -> str:
    """What to do about a device that is not there.

    A container runtime makes the node's device files in a privileged container and leaves out the links
    (containerd, pkg/cri and oci: HostDevices), so udev's names below /dev/disk are missing there.
    """
    if device.is_relative_to(dev / "disk") and not (dev / "disk").exists():
        return f"a container has no {dev / 'disk'}: configure the partition's own name, such as {dev / 'nvme0n1p1'}"
    return f"look into {dev}"


def _list(found: Sequence[BlockDevice]) -> str:
    """What was found, largest first, at most eight."""
    order = sorted(found, key=lambda d: (-d.size, d.name))
    more = f" and {len(order) - 8} more" if len(order) > 8 else ""
    return (", ".join(d.describe() for d in order[:8]) or "no block device") + more
