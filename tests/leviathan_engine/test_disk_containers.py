"""What holds a file system without being one (LUKS, LVM, RAID, multipath) is never formatted or mounted."""

import re
from pathlib import Path

import pytest
from disk_support import GB, GPT, TB, Machine, runbook_node, with_magic, xfs_head

from leviathan_engine.errors import DiskError
from leviathan_engine.machine.disk import provide


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return runbook_node(tmp_path / "m")


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
