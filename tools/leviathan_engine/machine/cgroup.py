"""Reads the container's CPU quota, memory limit and memory use from its control group, version 1 or 2.

Sources: the kernel's `cgroup-v2.rst` (cpu.max, memory.max, memory.high) and `cgroup-v1` (cpu.cfs_quota_us,
memory.limit_in_bytes); for the use memory.current, in version 1 memory.usage_in_bytes. A limit of a parent group also
applies to its children, so every group up to the root is read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
SELF = Path("/proc/self/cgroup")
# Version 1 writes "no limit" as the largest multiple of a page below 2**63.
NO_LIMIT = 1 << 62


@dataclass(frozen=True)
class Limits:
    """`cpus`: CPU time in CPUs, None without a quota; `memory`: bytes, including page cache, None without a limit."""

    cpus: float | None
    memory: int | None


def limits(root: Path = ROOT, own: Path = SELF) -> Limits:
    """Returns the limits of this process; none on a machine without control groups."""
    groups = _groups(own)
    cpus: list[float] = []
    memory: list[int] = []
    for folder in _upwards(root, groups.get("")):
        cpus += _cpu_max(folder)
        memory += [n for name in ("memory.max", "memory.high") for n in _numbers(folder / name)]
    for folder in _upwards(root / "cpu", groups.get("cpu")):
        quota, period = _numbers(folder / "cpu.cfs_quota_us"), _numbers(folder / "cpu.cfs_period_us")
        cpus += [q / p for q, p in zip(quota, period, strict=False) if q > 0 and p > 0]
    for folder in _upwards(root / "memory", groups.get("memory")):
        memory += _numbers(folder / "memory.limit_in_bytes")
    return Limits(min(cpus, default=None), min((n for n in memory if 0 < n < NO_LIMIT), default=None))


def memory_used(root: Path = ROOT, own: Path = SELF) -> int | None:
    """Returns the bytes that this process's group uses, including page cache; None if the kernel does not report them.

    A privileged container may have no cgroup namespace of its own. Then /sys/fs/cgroup is the host's root group, which
    has no such file, and the path in /proc/self/cgroup leads to the container's group.
    """
    groups = _groups(own)
    places = [folder / "memory.current" for folder in _upwards(root, groups.get(""))]
    places += [folder / "memory.usage_in_bytes" for folder in _upwards(root / "memory", groups.get("memory"))]
    return next((number for place in places for number in _numbers(place)), None)


def _groups(own: Path) -> dict[str, str]:
    """Controller -> group path; "" is version 2's only hierarchy. Lines are `id:controllers:path`."""
    out: dict[str, str] = {}
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        _number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for name in controllers.split(","):
            out[name] = path
    return out


def _upwards(root: Path, path: str | None) -> Iterator[Path]:
    """Yields the group's folder and its parents up to `root`; in a container with the host's path only `root`."""
    if path is None:
        return
    folder = root / path.lstrip("/")
    while folder != root and folder.is_relative_to(root):
        if folder.is_dir():
            yield folder
        folder = folder.parent
    yield root


def _cpu_max(folder: Path) -> list[float]:
    """Returns the quota of `cpu.max`, which is `QUOTA PERIOD` in microseconds, or `max PERIOD` for none."""
    try:
        quota, _, period = (folder / "cpu.max").read_text().strip().partition(" ")
        return [int(quota) / int(period)] if quota != "max" and int(period) > 0 else []
    except (OSError, ValueError):
        return []


def _numbers(path: Path) -> list[int]:
    """Returns the number in the file; an empty list for "max" and for a missing file."""
    try:
        return [int(path.read_text())]
    except (OSError, ValueError):
        return []
