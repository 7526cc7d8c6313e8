"""Finding and mounting the model's partition on real loop devices.

It partitions, formats and mounts; it needs root, losetup, mkfs.xfs and loop devices, and says why when it is skipped.
With LEVIATHAN_DISK=required, which `make check-host` sets, root with loop devices gets a failure instead.
"""

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from leviathan_engine.errors import DiskError
from leviathan_engine.machine import mount
from leviathan_engine.machine.blockdev import devices, mounts
from leviathan_engine.machine.disk import System, provide
from leviathan_engine.machine.superblock import probe

# Real loop devices from here on.

LOOP_CONTROL = Path("/dev/loop-control")


def cannot(why: str) -> NoReturn:
    """The real tests cannot run: they are skipped, or fail where they are wanted and the host could have them."""
    text = f"no real disk test: {why}"
    if os.environ.get("LEVIATHAN_DISK") == "required" and os.geteuid() == 0 and LOOP_CONTROL.exists():
        pytest.fail(text)
    pytest.skip(text)


@pytest.mark.parametrize(
    ("wanted", "user", "loops", "ends"),
    [
        ("required", 0, True, pytest.fail.Exception),
        ("required", 0, False, pytest.skip.Exception),
        ("required", 1000, True, pytest.skip.Exception),
        ("", 0, True, pytest.skip.Exception),
    ],
)
def test_where_a_skip_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, user: int, loops: bool, ends: type[BaseException]
) -> None:
    monkeypatch.setenv("LEVIATHAN_DISK", wanted)
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(f"{__name__}.LOOP_CONTROL", tmp_path if loops else tmp_path / "absent")
    with pytest.raises(ends, match="no real disk test: losetup is not installed"):
        cannot("losetup is not installed")


def run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A loop device with an MBR and two partitions: 512 MiB of XFS labelled "models", 64 MiB of ext4."""
    for tool in ("losetup", "partx", "mkfs.xfs", "mkfs.ext4", "umount"):
        if shutil.which(tool) is None:
            cannot(f"{tool} is not installed")
    if os.geteuid() != 0:
        cannot("not root")
    image = tmp_path_factory.mktemp("loop") / "disk.img"
    mib = 2048  # sectors
    entries = [(2048, 512 * mib), (2048 + 512 * mib, 64 * mib)]
    table = b"".join(struct.pack("<B3sB3sII", 0, b"\0\0\0", 0x83, b"\0\0\0", at, n) for at, n in entries)
    image.write_bytes(bytes(446) + table.ljust(64, b"\0") + b"\x55\xaa")
    os.truncate(image, 600 << 20)
    try:
        device = Path(run("losetup", "--find", "--show", "--partscan", str(image)))
    except subprocess.CalledProcessError as err:
        cannot(f"losetup failed: {err.stderr.strip()}")
    try:
        if not Path(f"{device}p2").exists():
            # A kernel without partition table parsers: partx reads the table and tells the kernel.
            subprocess.run(["partx", "--add", str(device)], check=False, timeout=60)
        if not Path(f"{device}p2").exists():
            cannot("the kernel did not show the loop device's partitions")
        run("mkfs.xfs", "-q", "-L", "models", f"{device}p1")
        run("mkfs.ext4", "-q", f"{device}p2")
        yield device
    finally:
        subprocess.run(["partx", "--delete", str(device)], check=False, capture_output=True, timeout=60)
        run("losetup", "--detach", str(device))


@pytest.fixture
def real(loop: Path, tmp_path: Path) -> Iterator[System]:
    """The real sysfs, /dev, mountinfo and mount(2), with the loop device's entries alone in view."""
    view = tmp_path / "block"
    view.mkdir()
    for name in (loop.name, f"{loop.name}p1", f"{loop.name}p2"):
        (view / name).symlink_to(f"/sys/class/block/{name}")
    try:
        yield System(sysfs=view)
    finally:
        for point in sorted((m.point for m in mounts() if m.point.is_relative_to(tmp_path)), reverse=True):
            run("umount", str(point))


LEAST = 500 << 20


def options(point: Path) -> list[str]:
    """The mount's own options, as the kernel shows them."""
    line = next(x for x in Path("/proc/self/mountinfo").read_text().splitlines() if x.split()[4] == str(point))
    return line.split()[5].split(",")


def test_real_partition_is_found_and_mounted(real: System, loop: Path, tmp_path: Path) -> None:
    found = {d.name: d for d in devices(real.sysfs)}
    assert found[loop.name].content.kind == "an MBR partition table"
    first = found[f"{loop.name}p1"]
    assert (first.partition, first.disk, first.size) == (True, loop.name, 512 << 20)
    assert (first.content.kind, first.content.label) == ("xfs", "models")
    assert first.content.size <= first.size
    assert first.content.uuid in run("xfs_admin", "-u", str(first.path)) if shutil.which("xfs_admin") else True
    assert found[f"{loop.name}p2"].content.kind == "ext4"

    point = tmp_path / "models"
    assert provide(point, least=LEAST, system=real).how.startswith(f"mounted ({loop.name}p1 537 MB xfs")
    assert {"ro", "nosuid", "nodev", "noatime"} <= set(options(point))
    with pytest.raises(OSError, match="Read-only file system"):
        (point / "x").write_text("")
    assert provide(point, least=LEAST, system=real).how == "already mounted (xfs)"
    assert "already mounted" in provide(point, first.path, system=real).how


def test_real_writer_elsewhere_is_joined_read_only(real: System, loop: Path, tmp_path: Path) -> None:
    writer, point, bound = tmp_path / "writer", tmp_path / "models", tmp_path / "bound"
    writer.mkdir()
    mount.run([mount.Step(f"{loop}p1", writer, "xfs", 0)])
    (writer / "model.gguf").write_text("GGUF")
    # As from another mount namespace: the writer's mount is not in our table.
    blind = tmp_path / "mountinfo"
    blind.write_text("")
    hidden = System(sysfs=real.sysfs, mountinfo=blind)
    assert "also mounted for writing" in provide(point, least=LEAST, system=hidden).how
    assert (point / "model.gguf").read_text() == "GGUF"
    assert "ro" in options(point)
    with pytest.raises(OSError, match="Read-only file system"):
        (point / "x").write_text("")
    (writer / "later").write_text("still writable")
    # And where it is in our table, it is bound.
    assert provide(bound, least=LEAST, system=real).how.startswith("bind-mounted from")
    assert "ro" in options(bound)
    assert (bound / "later").exists()


def test_real_wrong_devices(real: System, loop: Path, tmp_path: Path) -> None:
    with pytest.raises(DiskError, match=f"got the whole disk {loop} .*set storage.partition to {loop}p1"):
        provide(tmp_path / "m", loop, system=real)
    with pytest.raises(DiskError, match="expected XFS on it, got ext4"):
        provide(tmp_path / "m", Path(f"{loop}p2"), system=real)
    with pytest.raises(DiskError, match=r"no XFS partition of 3\.5 TB or more; found: loop"):
        provide(tmp_path / "m", system=real)


def test_real_broken_file_system(real: System, loop: Path, tmp_path: Path) -> None:
    """A superblock whose numbers contradict each other: recognised as XFS, refused by the kernel."""
    device = Path(f"{loop}p1")
    with device.open("r+b") as disk:
        whole = disk.read(4096)
        disk.seek(0)
        disk.write(whole[:100] + b"\xff\xff" + whole[102:])  # sb_versionnum
    try:
        assert probe(device).kind == "xfs"
        with pytest.raises(DiskError, match=r"cannot mount .*(EINVAL|EUCLEAN|EBADMSG).*") as caught:
            provide(tmp_path / "models", least=LEAST, system=real)
        caught.match("xfs_repair|dmesg")
        assert not [m for m in mounts() if m.point == tmp_path / "models"]
    finally:
        with device.open("r+b") as disk:
            disk.write(whole)
