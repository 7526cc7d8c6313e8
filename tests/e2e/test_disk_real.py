"""The loop disk: a table that the kernel reads, partitions that hold files, and nothing left behind."""

import os
import struct
import zlib
from pathlib import Path

import pytest

from e2e.disk import LEAST, MIB, SECTOR, DiskError, gpt, loop_disk


def test_both_tables_check_out_and_mirror_each_other() -> None:
    size = 700 * MIB
    written = gpt(size, [LEAST, LEAST])
    (front_at, front), (back_at, back) = sorted(written.items())
    last = size // SECTOR - 1
    assert (front_at, front[510:512], front[450]) == (0, b"\x55\xaa", 0xEE)
    assert back_at + len(back) == size
    for head, here, there, table in ((front[512:1024], 1, last, 2), (back[-512:], last, 1, last - 32)):
        assert head[:8] == b"EFI PART"
        assert zlib.crc32(head[:16] + bytes(4) + head[20:92]) == struct.unpack_from("<I", head, 16)[0]
        assert struct.unpack_from("<QQ", head, 24) == (here, there)
        assert struct.unpack_from("<QIII", head, 72) == (table, 128, 128, zlib.crc32(front[1024:]))
    assert back[:-512] == front[1024:]


def test_partitions_that_do_not_fit() -> None:
    with pytest.raises(DiskError, match=r"partition 2 of .* ends behind the disk"):
        gpt(400 * MIB, [LEAST, LEAST])


def test_a_real_disk_with_two_partitions(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("not root: no loop device can be made")
    with loop_disk(tmp_path / "disk.img", [LEAST, LEAST + 10 * MIB]) as disk:
        first, second = disk.partitions
        assert first.name == f"{disk.device.name}p1"
        assert first.is_block_device()
        sizes = [int(Path(f"/sys/class/block/{p.name}/size").read_text()) * SECTOR for p in disk.partitions]
        assert sizes == [LEAST, LEAST + 10 * MIB]
        assert Path(f"/sys/class/block/{second.name}/partition").read_text().strip() == "2"
        with disk.mounted(tmp_path / "mnt", 2) as point:
            (point / "models").mkdir()
            (point / "models/a.gguf").write_text("GGUF")
        with second.open("rb") as raw:
            assert raw.read(4) == b"XFSB"
        with disk.mounted(tmp_path / "mnt", 1) as point:
            assert not list(point.iterdir())
        with disk.mounted(tmp_path / "mnt", 2) as point:
            assert (point / "models/a.gguf").read_text() == "GGUF"
        nodes = disk.partitions
    assert not any(node.exists() for node in nodes)
    assert not Path(f"/sys/class/block/{nodes[0].name}").exists()


def test_a_disk_without_a_file_system(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("not root: no loop device can be made")
    with (
        loop_disk(tmp_path / "disk.img", formatted=False) as disk,
        pytest.raises(DiskError, match=r"mount -t xfs .* failed"),
        disk.mounted(tmp_path / "mnt"),
    ):
        pass
