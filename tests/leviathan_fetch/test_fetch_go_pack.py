"""The tar of Go modules: the same bytes wherever it is made."""

import hashlib
import os
import tarfile
from pathlib import Path

import pytest

from leviathan_fetch.errors import FetchError
from leviathan_fetch.kubernetes.tar import pack


def write(folder: Path, names: list[str], when: int, mode: int) -> None:
    """Files with their names as content, made in that order, at that time, with that mode."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
        path.chmod(mode)
        os.utime(path, (when, when))


def test_the_order_the_times_and_the_umask_do_not_matter(tmp_path: Path) -> None:
    names = ["b/one.go", "a.go", "b.go", "b/c/deep.s"]
    write(tmp_path / "one", names, 1, 0o644)
    write(tmp_path / "two", names[::-1], 2_000_000_000, 0o664)
    (tmp_path / "two" / "empty").mkdir()
    for turn in ("one", "two"):
        pack(tmp_path / turn, "vendor", tmp_path / f"{turn}.tar")
    one, two = ((tmp_path / f"{turn}.tar").read_bytes() for turn in ("one", "two"))
    assert hashlib.sha256(one).hexdigest() == hashlib.sha256(two).hexdigest()
    with tarfile.open(tmp_path / "one.tar") as tar:
        found = {entry.name: (entry.mode, entry.mtime, entry.uid) for entry in tar}
        assert list(found) == ["vendor/a.go", "vendor/b.go", "vendor/b/c/deep.s", "vendor/b/one.go"]
        assert set(found.values()) == {(0o644, 0, 0)}


def test_content_and_the_executable_bit_do_matter(tmp_path: Path) -> None:
    tars = []
    for turn, (content, mode) in enumerate([("x", 0o644), ("y", 0o644), ("x", 0o755)]):
        write(tmp_path / str(turn), ["file"], 1, mode)
        (tmp_path / str(turn) / "file").write_text(content, encoding="utf-8")
        pack(tmp_path / str(turn), "vendor", tmp_path / "tar")
        tars.append((tmp_path / "tar").read_bytes())
    assert len(set(tars)) == 3


def test_what_cannot_be_packed_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to("nowhere")
    with pytest.raises(FetchError, match="link is not a plain file"):
        pack(folder, "vendor", tmp_path / "tar")
    (folder / "link").unlink()
    write(folder, ["n" * 200], 1, 0o644)
    with pytest.raises(FetchError, match=r"cannot pack .*nnn: name is too long"):
        pack(folder, "vendor", tmp_path / "tar")
