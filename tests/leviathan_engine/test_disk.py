"""Finding and mounting the model's partition: over image files in a made-up sysfs, and on real loop devices.

The second part partitions, formats and mounts; it needs root, losetup, mkfs.xfs and loop devices, and says why when it
is skipped. With LEVIATHAN_DISK=required, which `make check-host` sets, root with loop devices gets a failure instead.
"""

import errno
import os
import re
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leviathan_engine.errors import DiskError
from leviathan_engine.machine import mount
from leviathan_engine.machine.blockdev import devices, human, mounts
from leviathan_engine.machine.disk import Disk, System, provide
from leviathan_engine.machine.superblock import SIGNATURES, probe, recognise

GB, TB = 10**9, 10**12
MakeDisk = Callable[..., None]
Steps = list[list[mount.Step]]


def xfs_head(label: str = "models", size: int = 4 * TB) -> bytes:
    """The first 120 bytes of an XFS file system with blocks of 4096 bytes."""
    head = bytearray(4096)
    head[:16] = b"XFSB" + struct.pack(">IQ", 4096, size // 4096)
    head[32:48] = bytes(range(16))
    head[108 : 108 + len(label)] = label.encode()
    return bytes(head)


def with_magic(at: int, magic: bytes) -> bytes:
    return bytes(at) + magic + bytes(64)


EXT4, GPT, MBR = with_magic(1080, b"\x53\xef"), with_magic(512, b"EFI PART"), with_magic(510, b"\x55\xaa")


class Machine:
    """A sysfs, a /dev of image files and a mountinfo below one folder, and a record of the mounts asked for."""

    def __init__(self, root: Path) -> None:
        self.sysfs, self.dev, self.info = root / "sys/class/block", root / "dev", root / "mountinfo"
        self.tree = root / "sys/devices"
        for folder in (self.sysfs, self.dev, self.tree):
            folder.mkdir(parents=True)
        self.info.write_text("22 1 0:21 / /proc rw,relatime - proc proc rw\n")
        self.steps: Steps = []
        self.errors: list[int] = []
        self.count = 0

    def add(self, name: str, size: int, head: bytes = b"", disk: str = "") -> None:
        """A disk, or a partition of `disk`."""
        folder = self.tree / disk / name if disk else self.tree / name
        folder.mkdir(parents=True)
        self.count += 1
        (folder / "size").write_text(f"{size // 512}\n")
        (folder / "dev").write_text(f"259:{self.count}\n")
        if disk:
            (folder / "partition").write_text("1\n")
        (self.sysfs / name).symlink_to(folder)
        (self.dev / name).write_bytes(head)

    def mounted(self, number: str, point: Path, root: str = "/") -> None:
        with self.info.open("a") as out:
            out.write(f"40 1 {number} {root} {point} rw,relatime shared:5 - xfs /dev/x rw\n")

    def run(self, steps: list[mount.Step]) -> None:
        self.steps.append(steps)
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, os.strerror(number))

    @property
    def system(self) -> System:
        return System(self.sysfs, self.dev, self.info, self.run)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """The runbook's node: an NVMe of 4 TB with one XFS partition, and a small system disk."""
    made = Machine(tmp_path / "m")
    made.add("sda", 500 * GB, GPT)
    made.add("sda1", 499 * GB, EXT4, "sda")
    made.add("nvme0n1", 4 * TB, GPT)
    made.add("nvme0n1p1", 4 * TB - GB, xfs_head(), "nvme0n1")
    return made


def test_the_partition_is_found_and_mounted_read_only(machine: Machine, tmp_path: Path) -> None:
    disk = provide(tmp_path / "models", system=machine.system)
    assert disk == Disk(tmp_path / "models", 'mounted (nvme0n1p1 4.0 TB xfs "models")')
    device = str(machine.dev / "nvme0n1p1")
    flags = mount.MS_RDONLY | mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOATIME
    assert machine.steps == [[mount.Step(device, tmp_path / "models", "xfs", flags)]]
    assert (tmp_path / "models").is_dir()


def test_the_configured_partition_may_be_small_and_linked(machine: Machine, tmp_path: Path) -> None:
    machine.add("sdb", 300 * GB, GPT)
    machine.add("sdb1", 299 * GB, xfs_head("b"), "sdb")
    by_id = tmp_path / "by-id"
    by_id.mkdir()
    (by_id / "nvme-X-part1").symlink_to(machine.dev / "sdb1")
    for device in (machine.dev / "sdb1", by_id / "nvme-X-part1"):
        assert "sdb1 299 GB" in provide(tmp_path / "models", device, system=machine.system).how


def test_what_is_mounted_already_is_taken(machine: Machine, tmp_path: Path) -> None:
    machine.mounted("259:4", tmp_path / "with\\040blank")
    assert provide(tmp_path / "with blank", system=machine.system).how == "already mounted (xfs)"
    device = machine.dev / "nvme0n1p1"
    assert "already mounted (nvme0n1p1" in provide(tmp_path / "with blank", device, system=machine.system).how
    assert machine.steps == []


def test_what_is_mounted_elsewhere_here_is_bound(machine: Machine, tmp_path: Path) -> None:
    machine.mounted("259:4", Path("/var/part"), root="/sub")
    machine.mounted("259:4", Path("/var/nvme"))
    assert provide(tmp_path / "models", system=machine.system).how.startswith("bind-mounted from /var/nvme")
    (steps,) = machine.steps
    assert [s.flags & (mount.MS_BIND | mount.MS_RDONLY) for s in steps] == [
        mount.MS_BIND,
        mount.MS_BIND | mount.MS_RDONLY,
    ]
    assert steps[0].source == "/var/nvme"


def test_a_writer_elsewhere_on_the_node_is_joined_read_only(machine: Machine, tmp_path: Path) -> None:
    machine.errors = [errno.EBUSY]
    assert "also mounted for writing" in provide(tmp_path / "models", system=machine.system).how
    first, second = machine.steps
    assert first[0].flags & mount.MS_RDONLY
    assert not second[0].flags & mount.MS_RDONLY
    assert second[1].flags & mount.MS_REMOUNT
    assert second[1].flags & mount.MS_RDONLY


def whole_disk(machine: Machine) -> Path:
    return machine.dev / "nvme0n1"


def unknown(machine: Machine) -> Path:
    (machine.dev / "nvme0n1p1").write_bytes(b"\x7fjunk" * 1000)
    return machine.dev / "nvme0n1p1"


REFUSED: list[tuple[Callable[[Machine], Path | None], str, str]] = [
    (
        whole_disk,
        r"got the whole disk .*nvme0n1 \(nvme0n1 4\.0 TB whole disk with a GPT",
        "set storage.partition to .*/nvme0n1p1",
    ),
    (
        lambda m: m.dev / "sda1",
        r"sda1: expected XFS on it, got ext4; found: nvme0n1 4\.0 TB",
        'storage.filesystem = "ext4"',
    ),
    (
        unknown,
        r"nvme0n1p1: expected XFS on it, got an unknown file system; found: nvme0n1 4\.0 TB",
        "the partition with the",
    ),
    (lambda m: m.dev / "nvme9n1p1", r"nvme9n1p1 is not a block device of this node; found: nvme0n1", "lsblk"),
    (lambda m: m.dev / "sda", r"got the whole disk .*sda .* its partitions: sda1 499 GB ext4", "is not empty"),
]


@pytest.mark.parametrize(("device", "text", "remedy"), REFUSED)
def test_a_configured_device_that_is_wrong(
    machine: Machine, tmp_path: Path, device: Callable[[Machine], Path | None], text: str, remedy: str
) -> None:
    with pytest.raises(DiskError, match=text) as caught:
        provide(tmp_path / "models", device(machine), system=machine.system)
    assert machine.steps == []
    assert "\n" not in caught.value.line()
    caught.match(remedy)


def made_of(machine: Machine, member: str, top: str, *, size: int, mapper: tuple[str, str] | None, head: bytes) -> None:
    """A device-mapper device (name and UUID), or an md device, that is made of `member`."""
    machine.add(top, size, head)
    holders = machine.sysfs / member / "holders"
    holders.mkdir(exist_ok=True)
    (holders / top).write_text("")
    folder = machine.sysfs / top / ("dm" if mapper else "md")
    folder.mkdir()
    for name, text in zip(("name", "uuid"), mapper or (), strict=False):
        (folder / name).write_text(f"{text}\n")


MD_10 = b"".join((xfs_head(), bytes((1 << 20) - 8192 - 4096), b"\xfc\x4e\x2b\xa9", bytes(8188)))
MD_09 = b"".join((xfs_head(), bytes((1 << 20) - 65536 - 4096), b"\xfc\x4e\x2b\xa9", bytes(65532)))
CONTAINED = {
    "LUKS": (b"LUKS\xba\xbe" + bytes(600), "LUKS", "cryptsetup open"),
    "BitLocker": (b"\xeb\x58\x90-FVE-FS-" + bytes(600), "BitLocker", "open it on the node"),
    "LVM": (with_magic(512 + 24, b"LVM2 001"), "LVM", "vgchange -ay"),
    "LVM in sector 0": (with_magic(24, b"LVM2 001"), "LVM", "vgchange -ay"),
    "RAID 1.2": (with_magic(4096, b"\xfc\x4e\x2b\xa9"), "Linux RAID", "mdadm --assemble"),
    "RAID 1.1": (with_magic(0, b"\xfc\x4e\x2b\xa9"), "Linux RAID", "mdadm --assemble"),
    "a mirror whose first bytes are XFS's (1.0)": (MD_10, "Linux RAID", "mdadm --assemble"),
    "a mirror whose first bytes are XFS's (0.90)": (MD_09, "Linux RAID", "mdadm --assemble"),
    "Intel's": (bytes((1 << 20) - 1024) + b"Intel Raid ISM Cfg. Sig. 1.3" + bytes(996), "Linux RAID", "mdadm"),
}


@pytest.mark.parametrize("whole", [False, True], ids=["partition", "disk"])
@pytest.mark.parametrize("case", CONTAINED)
def test_a_container_is_never_formatted_or_mounted(machine: Machine, tmp_path: Path, case: str, whole: bool) -> None:
    head, kind, remedy = CONTAINED[case]
    name = "sdb" if whole else "sdb1"
    machine.add("sdb", 5 * TB, head if whole else GPT)
    if not whole:
        machine.add("sdb1", 5 * TB - GB, head, "sdb")
    for chosen in (machine.dev / name, None):
        (machine.sysfs / "nvme0n1p1").unlink(missing_ok=True)
        with pytest.raises(DiskError, match=kind) as caught:
            provide(tmp_path / "models", chosen, system=machine.system)
        assert remedy in caught.value.remedy
        assert "that destroys the data in it" in caught.value.remedy
        assert not re.search("mkfs|create a partition|wipe", caught.value.remedy)
    assert machine.steps == []


def test_the_members_of_a_multipath_disk_lead_to_its_map(machine: Machine, tmp_path: Path) -> None:
    for disk in ("sdb", "sdc"):
        machine.add(disk, 5 * TB, xfs_head("twice"))
    made_of(machine, "sdb", "dm-0", size=5 * TB, mapper=("mpatha", "mpath-3600"), head=xfs_head("twice"))
    (machine.sysfs / "sdc" / "holders").mkdir()
    (machine.sysfs / "sdc" / "holders" / "dm-0").write_text("")
    for name in ("sdb", "sdc"):
        with pytest.raises(DiskError, match=r"is part of dm-0") as caught:
            provide(tmp_path / "models", machine.dev / name, system=machine.system)
        assert caught.value.remedy.startswith(
            f"set storage.partition to the device that is built on it: {machine.dev / 'dm-0'}"
        )
    assert "dm-0 5.0 TB multipath mpatha with xfs" in caught.value.message or caught.value.message
    assert "dm-0" in provide(tmp_path / "models", machine.dev / "dm-0", system=machine.system).how


def test_a_volume_over_encryption_over_raid_is_found_from_below(machine: Machine, tmp_path: Path) -> None:
    machine.add("sdb", 5 * TB, MD_10)
    made_of(machine, "sdb", "md0", size=5 * TB, mapper=None, head=b"LUKS\xba\xbe" + bytes(600))
    made_of(machine, "md0", "dm-1", size=5 * TB, mapper=("models", "CRYPT-LUKS2-1"), head=xfs_head("models"))
    for name in ("sdb", "md0"):
        with pytest.raises(DiskError) as caught:
            provide(tmp_path / "models", machine.dev / name, system=machine.system)
        assert str(machine.dev / "dm-1") in caught.value.remedy
        assert "do not format or partition" in caught.value.remedy


def test_a_member_is_no_candidate_and_the_right_device_is_named(machine: Machine, tmp_path: Path) -> None:
    made_of(machine, "nvme0n1p1", "md0", size=4 * TB - GB, mapper=None, head=xfs_head("models"))
    with pytest.raises(DiskError, match="no XFS partition") as caught:
        provide(tmp_path / "models", system=machine.system)
    assert caught.value.remedy == f"set storage.partition to {machine.dev / 'md0'}"
    assert "part of md0" in caught.value.message


def test_a_whole_disk_with_a_file_system_is_not_to_be_partitioned(machine: Machine, tmp_path: Path) -> None:
    machine.add("sdb", 5 * TB, xfs_head("whole"))
    with pytest.raises(DiskError, match="got the whole disk") as caught:
        provide(tmp_path / "models", machine.dev / "sdb", system=machine.system)
    assert "that destroys the data on it" in caught.value.remedy
    machine.add("sdc", 5 * TB)
    with pytest.raises(DiskError, match="create a partition with XFS on it"):
        provide(tmp_path / "models", machine.dev / "sdc", system=machine.system)


def test_a_name_below_dev_disk_that_the_container_runtime_left_out(machine: Machine, tmp_path: Path) -> None:
    name = machine.dev / "disk" / "by-partuuid" / "0b6f"
    with pytest.raises(DiskError, match="not a block device") as caught:
        provide(tmp_path / "models", name, system=machine.system)
    caught.match("a container has no .*/dev/disk: set storage.partition to the kernel's name, such as .*/nvme0n1p1")
    name.parent.mkdir(parents=True)
    with pytest.raises(DiskError, match="lsblk") as caught:  # here udev's names are, but not this one
        provide(tmp_path / "models", name, system=machine.system)
    name.symlink_to(machine.dev / "nvme0n1p1")
    assert "nvme0n1p1" in provide(tmp_path / "models", name, system=machine.system).how


def test_several_candidates_none_and_unknown_content(machine: Machine, tmp_path: Path) -> None:
    machine.add("nvme1n1", 5 * TB, xfs_head("whole"))
    assert "nvme0n1p1" in provide(tmp_path / "models", system=machine.system).how  # a whole disk is not a candidate
    machine.add("nvme1n1p1", 4 * TB, xfs_head("second"), "nvme1n1")
    with pytest.raises(
        DiskError,
        match=r"expected one XFS partition of 3\.5 TB or more, got 2: nvme1n1p1 4\.0 TB xfs \"second\", nvme0",
    ):
        provide(tmp_path / "models", system=machine.system)
    (machine.dev / "nvme1n1p1").write_bytes(b"\x7fjunk" * 1000)
    (machine.dev / "nvme0n1p1").unlink()
    with pytest.raises(DiskError, match=r"no XFS partition of 3\.5 TB or more; found: ") as caught:
        provide(tmp_path / "models", system=machine.system)
    caught.match(r"nvme1n1 5\.0 TB whole disk with xfs \"whole\"")
    caught.match(r"nvme1n1p1 4\.0 TB unknown content")
    caught.match(r"nvme0n1p1 4\.0 TB unreadable \(No such file or directory\)")


def test_another_device_at_the_mount_point(machine: Machine, tmp_path: Path) -> None:
    machine.mounted("8:99", tmp_path / "models")
    with pytest.raises(
        DiskError, match=r"expected .*nvme0n1p1 \(259:4\) to be mounted here, got another device \(8:99\)"
    ):
        provide(tmp_path / "models", machine.dev / "nvme0n1p1", system=machine.system)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EPERM, "privileged: true"),
        (errno.EACCES, "privileged: true"),
        (errno.EUCLEAN, "xfs_repair"),
        (errno.ENODEV, "kernel has no driver"),
        (errno.ENOMEM, "dmesg"),
    ],
)
def test_a_mount_that_fails_says_why(machine: Machine, tmp_path: Path, number: int, remedy: str) -> None:
    machine.errors = [number]
    with pytest.raises(DiskError, match=errno.errorcode[number]) as caught:
        provide(tmp_path / "models", system=machine.system)
    caught.match(remedy)
    assert len(machine.steps) == 1


def test_without_the_kernels_list(machine: Machine, tmp_path: Path) -> None:
    blind = System(tmp_path / "no-sys", machine.dev, machine.info, machine.run)
    with pytest.raises(DiskError, match=r"no-sys: No such file or directory; mount /sys"):
        provide(tmp_path / "models", system=blind)


def test_busy_twice_is_an_error(machine: Machine, tmp_path: Path) -> None:
    machine.errors = [errno.EBUSY, errno.EBUSY]
    with pytest.raises(DiskError, match=r"EBUSY.*find what uses the device"):
        provide(tmp_path / "models", system=machine.system)


def test_a_mount_point_that_cannot_be_made(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="cannot create the mount point"):
        provide(tmp_path / "file" / "models", system=machine.system)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (xfs_head(), "xfs"),
        (EXT4, "ext4"),
        (GPT, "a GPT partition table"),
        (MBR, "an MBR partition table"),
        (with_magic(0, b"LUKS\xba\xbe"), "LUKS (encrypted)"),
        (with_magic(65600, b"_BHRfS_M"), "btrfs"),
        (with_magic(4086, b"SWAPSPACE2"), "swap"),
        (with_magic(82, b"FAT32   ")[:510] + bytes(364) + b"\x55\xaa", "FAT"),
        (b"XFSB" + bytes(200), ""),
        (b"XFSB", ""),
        (b"", ""),
        (bytes(70000), ""),
    ],
)
def test_what_the_first_bytes_say(head: bytes, kind: str) -> None:
    assert recognise(head).kind == kind


@given(st.binary(max_size=5000))
def test_any_bytes_are_recognised_or_not(head: bytes) -> None:
    known = {"", "xfs", *(kind for kind, _at, _magic in SIGNATURES)}
    assert recognise(head).kind in known
    assert recognise(b"XFSB" + head).kind in known


def test_sizes_for_people() -> None:
    sizes = (0, 512, 1500, 999_600_000, 3_840_000_000_000)
    assert [human(n) for n in sizes] == ["0 B", "512 B", "1.5 kB", "1.0 GB", "3.8 TB"]


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
