"""A container's control group: memory and CPU limits, and whether the kernel killed something in it for memory.

Sources: the kernel's cgroup-v1/memory.rst (memory.limit_in_bytes, memory.oom_control) and cgroup-v2.rst (memory.max,
memory.events, cpu.max). Where the machine has no such controller the container runs without its limit, and says so.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PARENT = "leviathan-node"
PERIOD_US = 100_000


@dataclass(frozen=True)
class Group:
    """The group's folders by controller ("" for version 2's only hierarchy); none where limits cannot be set."""

    folders: dict[str, Path]

    def join_files(self) -> list[str]:
        """The files into which a process writes "0" to enter."""
        return [str(folder / "cgroup.procs") for folder in self.folders.values()]

    def mounts(self) -> list[tuple[str, str]]:
        """(host folder, container folder): what a container sees below /sys/fs/cgroup."""
        return [(str(f), str(ROOT / controller)) for controller, f in self.folders.items()]

    def oom_kills(self) -> int:
        """How many processes in it the kernel has killed because the limit was reached."""
        for controller, name in (("memory", "memory.oom_control"), ("", "memory.events")):
            if controller in self.folders:
                try:
                    lines = (self.folders[controller] / name).read_text().splitlines()
                except OSError:
                    return 0
                return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
        return 0

    def remove(self) -> None:
        """Remove the folders; the kernel may take a moment to release a process that has ended."""
        for folder in self.folders.values():
            for _ in range(50):
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.02)
                else:
                    break


def create(name: str, memory: int | None, cpus: float | None, talk: Callable[[str], None], root: Path = ROOT) -> Group:
    """A new group `name` with limits in bytes and CPUs, None for none; what cannot be limited is told to `talk`."""
    folders: dict[str, Path] = {}
    try:
        if _version_2(root):
            folder = root / PARENT
            folder.mkdir(exist_ok=True)
            for parent in (root, folder):
                (parent / "cgroup.subtree_control").write_text("+memory +cpu")
            folder /= name
            folder.mkdir()
            folders[""] = folder
            _write(folder / "memory.max", memory)
            _write(folder / "cpu.max", None if cpus is None else f"{int(cpus * PERIOD_US)} {PERIOD_US}")
        else:
            for controller in ("memory", "cpu"):
                if (root / controller / "cgroup.procs").exists():
                    folder = root / controller / PARENT / name
                    folder.mkdir(parents=True)
                    folders[controller] = folder
            if "memory" in folders:
                _write(folders["memory"] / "memory.limit_in_bytes", memory)
            if "cpu" in folders and (folders["cpu"] / "cpu.cfs_quota_us").exists():
                _write(folders["cpu"] / "cpu.cfs_quota_us", None if cpus is None else int(cpus * PERIOD_US))
    except OSError as err:
        talk(f"no limits for {name}: {err}")
        Group(folders).remove()
        return Group({})
    if memory is not None and not {"memory", ""} & set(folders):
        talk(f"no memory limit for {name}: this machine has no memory controller below {root}")
    return Group(folders)


def sweep(root: Path = ROOT) -> None:
    """Removes the empty groups that an agent left which was killed; those in use stay."""
    for parent in (root / "memory" / PARENT, root / "cpu" / PARENT, root / PARENT):
        for folder in (*parent.glob("*/"), parent):
            try:
                folder.rmdir()
            except OSError:
                continue


def _version_2(root: Path) -> bool:
    try:
        return "memory" in (root / "cgroup.controllers").read_text().split()
    except OSError:
        return False


def _write(path: Path, value: object) -> None:
    if value is not None:
        descriptor = os.open(path, os.O_WRONLY)
        try:
            os.write(descriptor, str(value).encode())
        finally:
            os.close(descriptor)
