"""A control group of the run's own in every controller (version 1), below which the kubelet puts its pods'."""

import os
import time
from contextlib import suppress
from pathlib import Path

from .needs import CGROUPS

CPUSET = ("cpuset.cpus", "cpuset.mems")  # a new group has none, and nothing can run in it


def hierarchies(root: Path = CGROUPS) -> list[Path]:
    """The mounted hierarchies."""
    return [folder for folder in sorted(root.iterdir()) if (folder / "cgroup.procs").exists()]


def make(name: str, root: Path = CGROUPS) -> None:
    """The group `name` in every hierarchy. Errors: OSError."""
    for folder in hierarchies(root):
        (folder / name).mkdir(exist_ok=True)
        for key in CPUSET:
            if (folder / key).exists():
                (folder / name / key).write_text((folder / key).read_text(encoding="ascii"), encoding="ascii")


def remove(name: str, root: Path = CGROUPS, patience: float = 10.0) -> list[Path]:
    """Remove the groups below `name` and itself; those that still have processes after `patience` seconds."""
    until = time.monotonic() + patience
    while True:
        for top in (folder / name for folder in hierarchies(root)):
            for group, _, _ in os.walk(top, topdown=False):  # passes over groups that go away meanwhile
                with suppress(OSError):
                    Path(group).rmdir()
        left = [folder / name for folder in hierarchies(root) if (folder / name).exists()]
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.2)
