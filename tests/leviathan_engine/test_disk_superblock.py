"""Which file system the first bytes of a device say."""

import pytest
from disk_support import EXT4, GPT, MBR, with_magic, xfs_head
from hypothesis import given
from hypothesis import strategies as st

from leviathan_engine.machine.superblock import SIGNATURES, recognise


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
