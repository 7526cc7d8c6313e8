"""The tar stream: the same bytes whatever the files' times, owners, modes and links on the build machine are."""

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from leviathan_image.errors import ImageError
from leviathan_image.tarcheck import check_tar
from leviathan_image.tarwriter import header, write_tar
from leviathan_image.tree import Entry, Kind, compose

MakeTree = Callable[..., Path]
_CONTENT: dict[str, bytes | str | None] = {
    "usr/bin/run": b"#!/bin/sh\n",
    "usr/lib/" + "d" * 90 + "/" + "f" * 90: b"long path",
    "usr/lib/" + "n" * 120: b"long name",
    "usr/share/ünïcode": b"",
    "lib": "usr/lib",
    "far": "x" * 150,
    "empty": None,
}


def _tar(tree: Path) -> bytes:
    out = io.BytesIO()
    size = write_tar(compose([tree], {}), out.write)
    assert size == len(out.getvalue())
    return out.getvalue()


def test_the_bytes_are_what_they_were_when_this_was_written(make_tree: MakeTree) -> None:
    digest = hashlib.sha256(_tar(make_tree("a", _CONTENT))).hexdigest()
    assert digest == "901098ecab09c57b44b4c9c97ac7caa73c3da117ab26bcec99b67628b79a65c7"


def test_times_owners_modes_and_hard_links_do_not_matter(make_tree: MakeTree) -> None:
    plain = make_tree("a", {**_CONTENT, "one": b"equal", "two": b"equal"})
    other = make_tree("b", {**_CONTENT, "one": b"equal"})
    os.link(other / "one", other / "two")
    for folder, _, files in os.walk(other):
        os.utime(folder, (1_700_000_000, 1_700_000_001))
        Path(folder).chmod(0o700)
        for name in files:
            path = Path(folder) / name
            if not path.is_symlink():
                path.chmod(0o700 if path.stat().st_mode & 0o111 else 0o600)
                os.utime(path, (5, 6))
    assert _tar(other) == _tar(plain)


def test_what_is_in_it_does_matter(make_tree: MakeTree) -> None:
    assert _tar(make_tree("a", {"x": b"1"})) != _tar(make_tree("b", {"x": b"2"}))


def test_python_reads_it_back(make_tree: MakeTree) -> None:
    with tarfile.open(fileobj=io.BytesIO(_tar(make_tree("a", _CONTENT)))) as archive:
        found = {member.name: member for member in archive.getmembers()}
        assert all((m.uid, m.gid, m.uname, m.gname, m.mtime) == (0, 0, "", "", 1) for m in found.values())
        assert found["far"].linkname == "x" * 150
        assert archive.extractfile("usr/lib/" + "d" * 90 + "/" + "f" * 90).read() == b"long path"  # type: ignore[union-attr]
    assert found.keys() >= _CONTENT.keys()


@pytest.mark.skipif(shutil.which("tar") is None, reason="no tar program here")
def test_tar_reads_it_without_a_word(make_tree: MakeTree, tmp_path: Path) -> None:
    file = tmp_path / "a.tar"
    file.write_bytes(_tar(make_tree("a", _CONTENT)))
    done = subprocess.run(["tar", "-tf", str(file)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == len(compose([tmp_path / "a"], {}))


def test_our_own_reader_finds_nothing_wrong(make_tree: MakeTree) -> None:
    report = check_tar(io.BytesIO(_tar(make_tree("a", _CONTENT))), "a")
    assert report.findings == ()
    assert report.members == len(compose([make_tree("b", _CONTENT)], {}))


def test_a_pax_record_appears_only_where_it_must() -> None:
    plain = Entry("usr/" + "x" * 90, Kind.FILE, 0o644, size=(8 << 30) - 1)
    assert len(header(plain)) == 512
    large = Entry("usr/x", Kind.FILE, 0o644, size=8 << 30)
    assert b"size=8589934592\n" in header(large)


@pytest.mark.parametrize("size", [2, 4])
def test_a_file_that_changes_its_size_is_an_error(tmp_path: Path, size: int) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"123")
    entry = Entry("f", Kind.FILE, 0o644, size=size, source=file)
    with pytest.raises(ImageError, match="changed its size"):
        write_tar([entry], lambda _: None)


def test_a_file_of_several_chunks_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "f"
    body = os.urandom(1 << 20) * 9 + b"tail"
    file.write_bytes(body)
    out = io.BytesIO()
    write_tar([Entry("f", Kind.FILE, 0o644, size=len(body), source=file)], out.write)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        assert archive.extractfile("f").read() == body  # type: ignore[union-attr]
