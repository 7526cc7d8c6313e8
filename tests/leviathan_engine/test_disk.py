"""Finding and mounting the model's partition, over image files in a made-up sysfs."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from disk_support import GB, GPT, TB, Machine, runbook_node, xfs_head

from leviathan_engine.errors import DiskError
from leviathan_engine.machine import mount
from leviathan_engine.machine.blockdev import human
from leviathan_engine.machine.disk import Disk, System, provide


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return runbook_node(tmp_path / "m")


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


def test_sizes_for_people() -> None:
    sizes = (0, 512, 1500, 999_600_000, 3_840_000_000_000)
    assert [human(n) for n in sizes] == ["0 B", "512 B", "1.5 kB", "1.0 GB", "3.8 TB"]
