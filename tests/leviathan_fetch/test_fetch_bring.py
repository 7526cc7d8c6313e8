"""Whether the disks have room, counting what is there already."""

from pathlib import Path

import pytest

from leviathan_fetch import bring, store
from leviathan_fetch.errors import FetchError
from leviathan_fetch.records import Record

OTHER_DISK = Path("/dev/shm")


def record(size: int) -> Record:
    return Record("deb", "x.deb", "a" * 64, "/nix/store/x", "x", "1", "x.deb", size, "all", "bookworm", "")


def leave(wanted: Record, downloads: Path, name: str, size: int) -> None:
    """What an interrupted fetch left of `wanted`: a file of `size` bytes that takes none of the disk."""
    folder = downloads / wanted.sha256
    folder.mkdir(parents=True)
    with (folder / name).open("wb") as out:
        out.truncate(size)


@pytest.mark.parametrize("name", ["part", "x.deb"])
def test_what_has_come_needs_no_room(tmp_path: Path, name: str) -> None:
    downloads = tmp_path / "downloads"
    wanted = record(2 * store.free_bytes(tmp_path))
    with pytest.raises(FetchError, match=r"downloads has .* free, but at least") as got:
        bring.need_space([wanted], downloads, tmp_path / "store")
    assert got.value.kind == "disk"
    leave(wanted, downloads, name, (wanted.size or 0) - 1000)
    bring.need_space([wanted], downloads, tmp_path / "store")


def test_what_has_come_needs_room_in_a_store_on_another_disk(tmp_path: Path) -> None:
    if not OTHER_DISK.is_dir() or OTHER_DISK.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip(f"{OTHER_DISK} is not another disk")
    wanted = record(2 * store.free_bytes(OTHER_DISK))
    leave(wanted, tmp_path / "downloads", "part", wanted.size or 0)
    bring.need_space([wanted], tmp_path / "downloads", tmp_path / "store")
    with pytest.raises(FetchError, match=f"{OTHER_DISK}/store has"):
        bring.need_space([wanted], tmp_path / "downloads", OTHER_DISK / "store")
