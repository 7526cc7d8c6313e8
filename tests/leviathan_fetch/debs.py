"""Debian packages made here, byte by byte."""

import io
import tarfile


def ar(members: dict[str, bytes]) -> bytes:
    """An ar archive (ar(5))."""
    out = b"!<arch>\n"
    for name, body in members.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(body):<10}`\n".encode() + body + b"\n" * (len(body) % 2)
    return out


def tar(files: dict[str, bytes], compression: str = "xz") -> bytes:
    """A tar archive, compressed (`compression` as tarfile names it, may be empty)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=f"w:{compression}") as archive:  # type: ignore[call-overload]
        for name, body in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            archive.addfile(entry, io.BytesIO(body))
    return stream.getvalue()


def deb(files: dict[str, bytes], compression: str = "xz") -> bytes:
    """A Debian package with `files` (names like ``./bin/x``)."""
    data = "data.tar" + (f".{compression}" if compression else "")
    return ar(
        {
            "debian-binary": b"2.0\n",
            "control.tar.xz": tar({"./control": b"Package: x\n"}),
            data: tar(files, compression),
        }
    )
