"""A disk that gives no more than so many bytes a second: a file system on a loop device, below a limit of a cgroup.

Needs root, loop devices, mkfs.ext4 and the cgroup controller of block devices, version 1 (blkio) or 2 (io).
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
SPARE = 64 << 20


@dataclass(frozen=True)
class Throttled:
    """`folder` is on the disk; a process that writes its id to `processes` reads it at the limit's rate."""

    folder: Path
    processes: Path
    number: str

    def bytes_read(self) -> int:
        """Bytes that such processes have read from it so far."""
        group = self.processes.parent
        if _version_1():
            lines = (group / "blkio.throttle.io_service_bytes").read_text(encoding="ascii").splitlines()
            return sum(int(line.split()[2]) for line in lines if line.startswith(f"{self.number} Read "))
        lines = (group / "io.stat").read_text(encoding="ascii").splitlines()
        words = [word for line in lines if line.startswith(f"{self.number} ") for word in line.split()]
        return sum(int(word.removeprefix("rbytes=")) for word in words if word.startswith("rbytes="))


def lacks() -> str:
    """What this machine lacks for it; "" for nothing."""
    if os.geteuid():
        return "it takes root"
    missing = [name for name in ("losetup", "mkfs.ext4", "mount", "umount") if shutil.which(name) is None]
    if missing or not Path("/dev/loop-control").exists():
        return f"it takes {', '.join(missing) or 'loop devices'}"
    if not _version_1() and "io" not in _words(CGROUPS / "cgroup.controllers"):
        return "it takes the cgroup controller of block devices"
    return ""


@contextlib.contextmanager
def throttled(work: Path, files: dict[str, bytes | Path], rate: int) -> Iterator[Throttled]:
    """A disk of `rate` bytes a second with these files, none of which is in memory; it is gone afterwards."""
    size = sum(len(what) if isinstance(what, bytes) else what.stat().st_size for what in files.values())
    image, folder = work / "disk.img", work / "disk"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(size + size // 20 + SPARE)
    _run("mkfs.ext4", "-q", "-F", "-m", "0", str(image))
    device = _run("losetup", "--find", "--show", "--direct-io=off", str(image))
    group = CGROUPS / ("blkio" if _version_1() else "") / f"leviathan-{os.getpid()}"
    try:
        _run("mount", device, str(folder))
        try:
            for name, what in files.items():
                if isinstance(what, bytes):
                    (folder / name).write_bytes(what)
                else:
                    shutil.copyfile(what, folder / name)
            _run("umount", str(folder))  # with it goes what is in the page cache
            _run("mount", "-o", "ro", device, str(folder))
            number = Path(device).stat().st_rdev
            name = f"{os.major(number)}:{os.minor(number)}"
            _limit(group, name, rate)
            yield Throttled(folder, group / "cgroup.procs", name)
        finally:
            _run("umount", str(folder))
    finally:
        _run("losetup", "--detach", device)
        with contextlib.suppress(OSError):
            group.rmdir()
        image.unlink()


def _version_1() -> bool:
    return (CGROUPS / "blkio" / "blkio.throttle.read_bps_device").exists()


def _limit(group: Path, number: str, rate: int) -> None:
    if _version_1():
        group.mkdir()
        (group / "blkio.throttle.read_bps_device").write_text(f"{number} {rate}")
        return
    if "io" not in _words(CGROUPS / "cgroup.subtree_control"):
        (CGROUPS / "cgroup.subtree_control").write_text("+io")
    group.mkdir()
    (group / "io.max").write_text(f"{number} rbps={rate}")


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []


def _run(*argv: str) -> str:
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise OSError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout.strip()
