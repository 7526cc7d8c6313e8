"""Trees, layers, ELF files and fat binaries for the tests; the last two are put together from the formats' rules."""

import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from leviathan_image.config import Config
from leviathan_image.layer import Layer, make_layer
from leviathan_image.layout import make_layout
from leviathan_image.modes import Mode
from leviathan_image.zstdpipe import Compression

MakeTree = Callable[..., Path]
MakeLayer = Callable[..., Layer]


@pytest.fixture
def data() -> Path:
    """The folder of real cubins and fat binaries."""
    return Path(__file__).parent / "data"


@pytest.fixture
def make_tree(tmp_path: Path) -> MakeTree:
    """`make_tree("a", {"usr/bin/x": b"...", "usr/lib": None, "bin": "usr/bin"})`: bytes are files (those below a bin
    folder executable), None folders, strings symbolic links.
    """

    def make(name: str, content: Mapping[str, bytes | str | None]) -> Path:
        root = tmp_path / name
        root.mkdir()
        for path, value in content.items():
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if value is None:
                target.mkdir(exist_ok=True)
            elif isinstance(value, str):
                target.symlink_to(value)
            else:
                target.write_bytes(value)
                target.chmod(0o555 if "bin" in target.parts[:-1] else 0o444)
        return root

    return make


@pytest.fixture
def layer_of(tmp_path: Path, make_tree: MakeTree) -> MakeLayer:
    """`layer_of("debian", {path: content}, modes=..., level=..., into=...)`: a finished layer of one tree."""

    def make(
        name: str,
        content: Mapping[str, bytes | str | None],
        modes: Mapping[str, Mode] | None = None,
        level: int = 3,
        into: str = "",
    ) -> Layer:
        where = into or name
        tree = make_tree(f"tree-{where}", content)
        return make_layer(
            name, [tree], tmp_path / f"layer-{where}", modes or {}, Compression(level), f"the {name} layer"
        )

    return make


@pytest.fixture
def layout_of(tmp_path: Path) -> Callable[..., Path]:
    """`layout_of("one", [layer, ...], labels={...})`: a finished layout folder."""

    def make(name: str, layers: Sequence[Layer], labels: Mapping[str, str] | None = None) -> Path:
        out = tmp_path / f"layout-{name}"
        config = Config(entrypoint=("/bin/x",), labels=tuple((labels or {}).items()))
        make_layout(layers, config, "omni/engine:test", out)
        return out

    return make


@pytest.fixture
def make_elf() -> Callable[..., bytes]:
    """`make_elf({".nv_fatbin": b"..."}, soname="libx.so.1", machine=62, kind=3)`: a 64-bit ELF file."""

    def make(
        sections: Mapping[str, bytes] | None = None, soname: str = "", machine: int = 62, kind: int = 3, flags: int = 0
    ) -> bytes:
        parts = [("", 0, b"", 0), *((name, 1, body, 0) for name, body in (sections or {}).items())]
        if soname:
            parts.append((".dynstr", 3, b"\0" + soname.encode() + b"\0", 0))
            parts.append((".dynamic", 6, struct.pack("<QQQQ", 14, 1, 0, 0), len(parts) - 1))
        names = b"".join(name.encode() + b"\0" for name, *_ in parts) + b".shstrtab\0"
        parts.append((".shstrtab", 3, names, 0))
        body, headers, place = b"", b"", 0
        for name, section_kind, content, link in parts:
            body += bytes(-len(body) % 8)
            headers += struct.pack(
                "<IIQQQQIIQQ", place, section_kind, 0, 0, 64 + len(body), len(content), link, 0, 8, 0
            )
            body += content
            place += len(name) + 1
        body += bytes(-len(body) % 8)
        ident = b"\x7fELF\x02\x01\x01" + bytes(9)
        fields = (kind, machine, 1, 0, 0, 64 + len(body), flags, 64, 0, 0, 64, len(parts), len(parts) - 1)
        return ident + struct.pack("<HHIQQQIHHHHHH", *fields) + body + headers

    return make


@pytest.fixture
def make_fatbin() -> Callable[..., bytes]:
    """`make_fatbin([(kind, number, flags, payload), ...])`: a container with these entries."""

    def make(entries: Sequence[tuple[int, int, int, bytes]], version: int = 0x101) -> bytes:
        body = b""
        for kind, number, flags, payload in entries:
            padded = payload + bytes(-len(payload) % 8)
            body += struct.pack("<HHIQIIIIQQ", kind, version, 64, len(padded), 0, 0, 7, number, 0, flags)
            body += bytes(16) + padded
        return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body

    return make
