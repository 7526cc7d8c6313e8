"""A container's file system, made inside its own mount namespace. Standard library only.

As runc does it: the image's layers under an overlay, pivot_root, /proc and /sys and /dev, then the volumes, and
read-only last, so that mount points can be made before.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from . import kernel
from .container import Bind, Plan

OLD = "/.host"
PLAIN_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
DEVICE_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1"} | {
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
OWN_IN_DEV = {"pts", "shm", "mqueue", "fd", "stdin", "stdout", "stderr", "ptmx", "core"}


def overlay(plan: Plan) -> Path:
    """Mounts the layers with a writable one on top, and returns the place. Changes the working folder: mount options
    are limited to one page, so the layers get short names relative to it. Errors: OSError."""
    work = Path(plan.work)
    for name in ("lower", "upper", "scratch", "root"):
        (work / name).mkdir(exist_ok=True)
    os.chdir(work / "lower")
    names = []
    for number, layer in enumerate(reversed(plan.layers)):
        short = Path(str(number))
        short.unlink(missing_ok=True)
        short.symlink_to(layer)
        names.append(str(number))
    options = f"lowerdir={':'.join(names)},upperdir=../upper,workdir=../scratch"
    kernel.mount("overlay", work / "root", "overlay", 0, options)
    return work / "root"


def enter(root: Path, plan: Plan) -> None:
    """Makes `root` the root folder and mounts everything in it; in a new mount and pid namespace. Errors: OSError."""
    os.chdir(root)
    Path(root / OLD.lstrip("/")).mkdir()
    kernel.pivot_root(".", OLD.lstrip("/"))
    os.chdir("/")
    _mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    bind(Bind(f"{OLD}/sys", "/sys", not plan.privileged))
    if plan.cgroup_binds:
        _mount("cgroup", "/sys/fs/cgroup", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC, "mode=755")
        for one in plan.cgroup_binds:
            bind(Bind(OLD + one.source, one.target, not plan.privileged))
    _devices(plan.privileged)
    for one in sorted(plan.binds, key=lambda b: b.target.count("/")):
        bind(Bind(OLD + one.source, one.target, one.read_only))
    kernel.umount(OLD, kernel.MNT_DETACH)
    Path(OLD).rmdir()
    if plan.read_only:
        kernel.mount("", "/", "", kernel.MS_REMOUNT | kernel.MS_RDONLY)


def bind(one: Bind) -> None:
    """Binds a folder or file, mount point made where it is missing. Errors: OSError."""
    target = Path(one.target)
    if Path(one.source).is_dir():
        target.mkdir(parents=True, exist_ok=True)
    elif not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    kernel.mount(one.source, target, "", kernel.MS_BIND | kernel.MS_REC)
    if one.read_only:
        # A bind mount keeps the flags it was made with; only a second call makes it read-only.
        held = os.statvfs(target).f_flag & (kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
        kernel.mount("", target, "", kernel.MS_BIND | kernel.MS_REMOUNT | kernel.MS_RDONLY | held)


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    Path(target).mkdir(parents=True, exist_ok=True)
    kernel.mount(source, target, kind, flags, data)


def _devices(privileged: bool) -> None:
    """/dev: a few devices, or for a privileged container all that the node has at this moment, partitions included."""
    _mount("tmpfs", "/dev", "tmpfs", kernel.MS_NOSUID, "mode=755,size=65536k")
    os.umask(0)
    if privileged:
        _mirror(Path(OLD) / "dev")
    else:
        for name in PLAIN_DEVICES:
            found = (Path(OLD) / "dev" / name).stat()
            os.mknod(Path("/dev") / name, found.st_mode, found.st_rdev)
    os.umask(0o022)
    for name, goal in DEVICE_LINKS.items():
        (Path("/dev") / name).symlink_to(goal)
    quiet = kernel.MS_NOSUID | kernel.MS_NOEXEC
    _mount("devpts", "/dev/pts", "devpts", quiet, "newinstance,ptmxmode=0666,mode=0620")
    _mount("shm", "/dev/shm", "tmpfs", quiet | kernel.MS_NODEV, "mode=1777,size=65536k")
    _mount("mqueue", "/dev/mqueue", "mqueue", quiet | kernel.MS_NODEV)


def _mirror(host: Path) -> None:
    for path in _nodes(host):
        found, target = path.lstat(), Path("/dev") / path.relative_to(host)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        os.mknod(target, found.st_mode, found.st_rdev)
        os.chown(target, found.st_uid, found.st_gid)


def _nodes(host: Path) -> Iterator[Path]:
    """Devices below the host's /dev, without what a container has of its own, without other mounts, and without links:
    as containerd's HostDevices (pkg/oci) has them.
    """
    device = host.stat().st_dev
    todo = [path for path in host.iterdir() if path.name not in OWN_IN_DEV]
    while todo:
        path = todo.pop()
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            if path.stat().st_dev == device:
                todo += path.iterdir()
        elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            yield path
