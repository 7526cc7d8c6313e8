"""Mounts a block device read-only with mount(2), and turns its errors into messages."""

import ctypes
import errno
import os
from dataclasses import dataclass
from pathlib import Path

from leviathan_engine.errors import DiskError

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOATIME, MS_REMOUNT, MS_BIND = 1, 2, 4, 1024, 32, 4096
SAFE = MS_NOSUID | MS_NODEV | MS_NOATIME
REMEDIES = {
    errno.EPERM: "give the container privileged: true (mounting needs CAP_SYS_ADMIN)",
    errno.EACCES: "give the container privileged: true (its device cgroup does not let it open the disk)",
    errno.EBUSY: "find what uses the device with lsblk on the node: RAID, LVM, or a mount for writing",
    errno.EINVAL: "check the file system on the node with xfs_repair -n",
    errno.EUCLEAN: "check the file system on the node with xfs_repair -n",
    errno.ENODEV: "the node's kernel has no driver for this file system: load it, such as with modprobe xfs",
    errno.EROFS: "the disk is write-protected and its journal must be replayed: mount it once where it is writable",
    errno.ENOENT: "check with lsblk on the node that the device is still there",
}


@dataclass(frozen=True)
class Step:
    """One mount(2) call."""

    source: str
    target: Path
    kind: str
    flags: int


def call(step: Step) -> None:
    """Makes the call. Errors: OSError with the kernel's number."""
    libc = ctypes.CDLL(None, use_errno=True)
    args = (step.source.encode(), os.fsencode(step.target), step.kind.encode() or None, step.flags, None)
    libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
    if libc.mount(*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(step.target))


def read_only(device: Path, target: Path, kind: str = "xfs") -> list[Step]:
    """Returns the steps of a read-only mount."""
    return [Step(str(device), target, kind, MS_RDONLY | SAFE)]


def join_read_only(device: Path, target: Path, kind: str = "xfs") -> list[Step]:
    """Returns the steps for a device that another pod or the node has mounted for writing.

    The kernel then refuses a read-only mount (EBUSY), because all mounts share one file system state. So this mounts
    it for writing too, and makes only this mount point read-only.
    """
    return [
        Step(str(device), target, kind, SAFE),
        Step("none", target, "", MS_REMOUNT | MS_BIND | MS_RDONLY | SAFE),
    ]


def bind_read_only(source: Path, target: Path) -> list[Step]:
    """Returns the steps that bind-mount `source`, a mount point of this namespace, read-only to another place."""
    return [
        Step(str(source), target, "", MS_BIND),
        Step("none", target, "", MS_REMOUNT | MS_BIND | MS_RDONLY | SAFE),
    ]


def run(steps: list[Step]) -> None:
    """Makes the calls in order; if a later one fails, unmounts what the earlier ones mounted. Errors: OSError."""
    for index, step in enumerate(steps):
        try:
            call(step)
        except OSError:
            if index:
                ctypes.CDLL(None).umount2(os.fsencode(step.target), 2)
            raise


def explain(err: OSError, device: Path, target: Path) -> DiskError:
    """Turns the error of a failed mount into a message with a remedy."""
    number = err.errno or 0
    name = errno.errorcode.get(number, str(number))
    text = f"cannot mount {device} on {target}: {err.strerror} ({name})"
    return DiskError(text, REMEDIES.get(number, "check dmesg on the node"))
