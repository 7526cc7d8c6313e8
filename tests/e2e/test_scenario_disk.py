"""The disk of the whole way: what is written is what the engine's own code finds."""

import os
import struct
import subprocess
import uuid
import zlib
from pathlib import Path

import pytest

from e2e.scenarios import gpt
from e2e.scenarios.disk import LoopDisk
from e2e.scenarios.errors import WayError, run
from leviathan_engine.errors import DiskError
from leviathan_engine.machine import blockdev, disk

TERABYTE = 10**12


def test_both_headers_fit_their_tables(tmp_path: Path) -> None:
    file = tmp_path / "disk"
    with file.open("wb") as stream:
        stream.truncate(64 << 20)
    offset, size = gpt.write(file, uuid.uuid4())
    data = file.read_bytes()
    assert (offset, offset + size <= len(data) - 34 * 512) == (1 << 20, True)
    for at in (512, len(data) - 512):
        head = data[at : at + 92]
        own, other = struct.unpack_from("<QQ", head, 24)
        table, count, width, crc = struct.unpack_from("<QIII", head, 72)
        assert head[:8] == b"EFI PART"
        assert (own, other) == (at // 512, (len(data) - 512 if at == 512 else 512) // 512)
        assert zlib.crc32(data[table * 512 : table * 512 + count * width]) == crc
        assert zlib.crc32(head[:16] + b"\0" * 4 + head[20:]) == struct.unpack_from("<I", head, 16)[0]
    assert data[510:512] == b"\x55\xaa"


def test_a_program_that_fails_is_named() -> None:
    assert run(["echo", "fine"]) == "fine\n"
    with pytest.raises(WayError, match=r"ls /nowhere failed with status 2: .*No such file"):
        run(["ls", "/nowhere"])
    with pytest.raises(WayError, match="no-such-program is not on this machine"):
        run(["no-such-program"])


@pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root")
def test_the_engine_finds_the_partition_and_refuses_the_disk(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "tiny.gguf").write_bytes(b"GGUF")
    try:
        run(["losetup", "--find"])
    except WayError as error:
        pytest.skip(f"this machine gives no loop device: {error}")
    with LoopDisk(tmp_path / "disk.img", model, "models/tiny", size=2 * TERABYTE) as loop:
        found = [device for device in blockdev.devices() if device.name.startswith(loop.disk.name)]
        assert [(device.name, device.partition) for device in found if device.partition] == [
            (loop.partition.name, True)
        ]
        chosen = disk.configured(loop.name, found)  # as the site names it
        assert chosen == disk.configured(loop.partition, found)
        assert chosen.content.kind == "xfs"
        assert TERABYTE < chosen.size < 2 * TERABYTE
        with pytest.raises(DiskError, match=f"got the whole disk .*{loop.partition.name}"):
            disk.configured(loop.disk, found)
        loop.point_alias(loop.disk)
        with pytest.raises(DiskError, match=f"got the whole disk {loop.alias} .*{loop.partition.name}"):
            disk.configured(loop.alias, found)
        loop.point_alias(loop.partition)
        assert disk.configured(loop.alias, found) == chosen
        listed = subprocess.run(["losetup", "--list"], capture_output=True, text=True, check=True).stdout
        assert str(loop.file) in listed
        assert loop.file.stat().st_blocks * 512 < 300 << 20
    assert not loop.file.exists()
    assert not loop.name.is_symlink()
    assert not loop.alias.is_symlink()
    listed = subprocess.run(["losetup", "--list"], capture_output=True, text=True, check=True).stdout
    assert str(loop.file) not in listed
