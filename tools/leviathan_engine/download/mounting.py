"""Mounts the model's partition for writing, for a download onto it."""

from pathlib import Path

from leviathan_engine.errors import DiskError
from leviathan_engine.machine import mount
from leviathan_engine.machine.blockdev import MOUNTINFO, mounted_at, mounts


def mount_for_writing(device: Path, point: Path, kind: str, mountinfo: Path = MOUNTINFO) -> None:
    """Mounts `device` at `point` for writing; keeps what is already mounted there. Errors: DiskError."""
    if mounted_at(point, mounts(mountinfo)) is not None:
        return
    try:
        point.mkdir(parents=True, exist_ok=True)
        mount.run([mount.Step(str(device.resolve()), point, kind, mount.SAFE)])
    except OSError as error:
        found = mount.explain(error, device, point)
        raise DiskError(
            found.message, f"{found.remedy}; if an engine is running, it has the disk mounted read-only: stop it"
        ) from None
