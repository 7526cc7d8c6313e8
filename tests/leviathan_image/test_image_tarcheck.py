"""Each rule about a layer's tar is shown to find its fault; the same archive without the fault is clean."""

import io
import tarfile
from collections.abc import Callable

import pytest

from leviathan_image.errors import ImageError
from leviathan_image.tarcheck import HashedStream, check_tar


def _member(name: str, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mtime = kind, 1
    return info


def _archive(*members: tarfile.TarInfo) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    out.seek(0)
    return out


def _good() -> list[tarfile.TarInfo]:
    return [_member("usr", tarfile.DIRTYPE), _member("usr/a"), _member("usr/b", tarfile.SYMTYPE)]


def _change(change: Callable[[list[tarfile.TarInfo]], object]) -> list[str]:
    members = _good()
    change(members)
    return [finding.what for finding in check_tar(_archive(*members), "x").findings]


def test_a_good_archive_has_no_finding() -> None:
    assert _change(lambda members: None) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda m: m.reverse(), "out of order"),
        (lambda m: m.append(_member("usr/b")), "out of order, or twice"),
        (lambda m: m.pop(0), "its folder does not come before it"),
        (lambda m: setattr(m[1], "mtime", 1_700_000_000), "expected the time 1, got 1700000000"),
        (lambda m: setattr(m[1], "mtime", 1.5), "expected the time 1, got 1.5"),
        (lambda m: setattr(m[1], "uname", "root"), "got the names 'root'"),
        (lambda m: setattr(m[1], "gname", "root"), "expected only numeric owners"),
        (lambda m: setattr(m[1], "type", tarfile.LNKTYPE), "member type b'1'"),
        (lambda m: setattr(m[1], "type", tarfile.FIFOTYPE), "member type b'6'"),
        (lambda m: m.append(_member("usr/c/../d")), "not a plain relative path"),
        (lambda m: setattr(m[1], "pax_headers", {"comment": "x"}), "pax records comment"),
    ],
)
def test_a_bad_archive_has_the_finding(change: Callable[[list[tarfile.TarInfo]], object], named: str) -> None:
    assert any(named in what for what in _change(change))


def test_owners_as_numbers_are_no_finding() -> None:
    assert _change(lambda members: setattr(members[1], "gid", 42)) == []


def test_no_archive_at_all_is_an_error() -> None:
    with pytest.raises(ImageError, match="not a readable tar"):
        check_tar(io.BytesIO(b"no tar" * 200), "x")


def test_a_cut_archive_is_an_error() -> None:
    member = _member("usr/a")
    member.size = 5000
    whole = _archive(_member("usr", tarfile.DIRTYPE), member).getvalue()
    with pytest.raises(ImageError, match="not a readable tar"):
        check_tar(io.BytesIO(whole[:3000]), "x")


def test_the_digest_covers_every_byte() -> None:
    stream = HashedStream(io.BytesIO(b"abc"))
    assert stream.read(2) + stream.read(2) == b"abc"
    assert stream.digest() == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    archive = _archive(*_good())
    size = len(archive.getvalue())
    assert check_tar(archive, "x").size == size
