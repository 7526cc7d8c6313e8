"""A file out of a Debian package, and the hash of a folder as Nix computes it."""

from pathlib import Path

import pytest
from debs import ar, deb, tar

from leviathan_fetch import debfile, seed
from leviathan_fetch.errors import FetchError

FILES = {"./bin/other": b"no", "./bin/busybox": b"\x7fELF" * 999, "./usr/share/doc/x": b"text"}


@pytest.mark.parametrize("compression", ["xz", "gz", "bz2", ""])
def test_a_member_of_each_kind_of_package(tmp_path: Path, compression: str) -> None:
    (tmp_path / "x.deb").write_bytes(deb(FILES, compression))
    assert debfile.member(tmp_path / "x.deb", "bin/busybox") == FILES["./bin/busybox"]


def test_a_member_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "x.deb").write_bytes(deb(FILES))
    with pytest.raises(FetchError, match=r"x\.deb has no file bin/none") as got:
        debfile.member(tmp_path / "x.deb", "bin/none")
    assert got.value.remedy == "make lock"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "does not start with an ar header"),
        (b"PK\x03\x04", "does not start with an ar header"),
        (b"!<arch>\nshort", "the ar header at byte 8 is broken"),
        (deb(FILES)[:-50], "is cut off"),
        (ar({"data.tar": b""}).replace(b"0         `", b"-60       `"), "header at byte 8 has the size b'-60'"),
        (ar({"data.tar": b""}).replace(b"0         `", b"          `"), "header at byte 8 has the size b''"),
        (ar({"debian-binary": b"2.0\n"}), "no data.tar"),
        (ar({"data.tar.zst": b"\x28\xb5\x2f\xfd"}), "no data.tar"),
        (ar({"data.tar.xz": tar(FILES)[:-60]}), "cannot unpack"),
        (ar({"data.tar.xz": b"not xz at all"}), "cannot unpack"),
    ],
)
def test_what_is_no_package(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "x.deb").write_bytes(content)
    with pytest.raises(FetchError, match=why):
        debfile.member(tmp_path / "x.deb", "usr/share/doc/none")


def test_the_seed_is_a_folder_with_one_executable(tmp_path: Path) -> None:
    (tmp_path / "x.deb").write_bytes(deb(FILES))
    folder = seed.unpack(tmp_path / "x.deb", "bin/busybox", tmp_path / "seed")
    (folder / "stale").touch()
    seed.unpack(tmp_path / "x.deb", "bin/busybox", folder)
    assert [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*"))] == ["bin", "bin/busybox"]
    assert (folder / "bin/busybox").stat().st_mode & 0o777 == 0o555
