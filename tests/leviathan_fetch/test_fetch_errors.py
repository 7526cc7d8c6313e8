"""What the operating system refuses, as the one line of this package."""

import errno
import os
from pathlib import Path

import pytest

from leviathan_fetch.errors import from_system


@pytest.mark.parametrize(
    ("number", "remedy", "kind"),
    [
        (errno.EACCES, "give it to this user", "other"),
        (errno.ENOTDIR, "move it away", "other"),
        (errno.EROFS, "a writable checkout", "other"),
        (errno.ENOSPC, "free some disk space", "disk"),
        (errno.EIO, "--debug", "other"),
    ],
)
def test_a_remedy_for_each_kind(number: int, remedy: str, kind: str) -> None:
    found = from_system(OSError(number, os.strerror(number), "/x/y"))
    assert found.message == f"/x/y cannot be used: {os.strerror(number)}"
    assert remedy in found.remedy
    assert found.kind == kind


def test_the_path_is_named_by_the_call_that_failed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file") as got:
        (tmp_path / "file" / "x").mkdir()
    assert from_system(got.value).message == f"{tmp_path}/file/x cannot be used: Not a directory"


def test_an_error_without_a_path() -> None:
    found = from_system(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    assert found.message == "the operating system refuses: Broken pipe"
