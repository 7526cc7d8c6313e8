"""`diff` says nothing about equal images, and names what differs in all others."""

from collections.abc import Callable
from pathlib import Path

import pytest

from leviathan_image.config import Config
from leviathan_image.diff import diff
from leviathan_image.errors import ImageError
from leviathan_image.layer import Layer
from leviathan_image.layout import make_layout
from leviathan_image.modes import Mode

MakeLayer = Callable[..., Layer]
MakeLayout = Callable[..., Path]
_CONTENT: dict[str, bytes | str | None] = {"usr/bin/x": b"x" * 3000, "usr/lib/y": b"y", "lib": "usr/lib"}


@pytest.fixture
def compare(layer_of: MakeLayer, layout_of: MakeLayout) -> Callable[..., list[str]]:
    """`compare({path: content}, ...)`: the differences of two images of one layer, but for the manifest's digest."""

    def run(
        left: dict[str, bytes | str | None], right: dict[str, bytes | str | None], level: int = 3, **modes: Mode
    ) -> list[str]:
        one = layout_of("one", [layer_of("app", left, into="one")])
        two = layout_of("two", [layer_of("app", right, modes, level, "two")])
        lines = list(diff(one, two))
        assert not lines or lines[0].startswith("index: manifest sha256:")
        return [line for line in lines[1:] if not line.startswith("config.rootfs.diff_ids")]

    return run


def test_equal_images_differ_in_nothing(compare: Callable[..., list[str]]) -> None:
    assert compare(_CONTENT, _CONTENT) == []


def test_the_first_differing_byte_is_named(compare: Callable[..., list[str]]) -> None:
    assert compare(_CONTENT, {**_CONTENT, "usr/bin/x": b"x" * 2000 + b"z" + b"x" * 999}) == [
        "layer app: /usr/bin/x: content differs from byte 2000"
    ]


def test_a_longer_file_differs_at_its_end(compare: Callable[..., list[str]]) -> None:
    assert compare(_CONTENT, {**_CONTENT, "usr/bin/x": b"x" * 3001}) == [
        "layer app: /usr/bin/x: size 3000 and 3001",
        "layer app: /usr/bin/x: content differs from byte 3000",
    ]


def test_a_difference_beyond_the_first_chunk_has_its_offset(compare: Callable[..., list[str]]) -> None:
    body = bytes(3 << 20)
    assert compare({"f": body}, {"f": body[:-1] + b"1"}) == [
        f"layer app: /f: content differs from byte {(3 << 20) - 1}"
    ]


def test_what_only_one_has_is_named(compare: Callable[..., list[str]]) -> None:
    right = {**_CONTENT, "usr/lib/a": b"", "zzz": b""}
    del right["usr/lib/y"]
    assert compare(_CONTENT, right) == [
        "layer app: /usr/lib/a is only in the second",
        "layer app: /usr/lib/y is only in the first",
        "layer app: /zzz is only in the second",
    ]


def test_attributes_are_named(compare: Callable[..., list[str]]) -> None:
    changed = {**_CONTENT, "lib": "elsewhere"}
    assert compare(_CONTENT, changed, usr=Mode(0o700, 1, 2)) == [
        "layer app: /lib: linkname 'usr/lib' and 'elsewhere'",
        "layer app: /usr: mode 0o755 and 0o700",
        "layer app: /usr: uid 0 and 1",
        "layer app: /usr: gid 0 and 2",
    ]


def test_a_file_that_became_a_link_is_named(compare: Callable[..., list[str]]) -> None:
    lines = compare(_CONTENT, {**_CONTENT, "usr/lib/y": "x"})
    assert "layer app: /usr/lib/y: type b'0' and b'2'" in lines


def test_another_compression_is_told_from_other_content(compare: Callable[..., list[str]]) -> None:
    body = b"".join(number.to_bytes(3, "little") for number in range(40_000))
    (line,) = compare({"f": body}, {"f": body}, level=15)
    assert line.startswith("layer app: same tar, compressed differently")


def test_config_and_layers_are_compared(layer_of: MakeLayer, tmp_path: Path) -> None:
    first, second = layer_of("app", _CONTENT), layer_of("more", {"z": b""})
    make_layout([first], Config(labels=(("v", "1"),)), "a", tmp_path / "one")
    make_layout([first, second], Config(labels=(("v", "2"),)), "b", tmp_path / "two")
    lines = list(diff(tmp_path / "one", tmp_path / "two"))
    assert "index: name 'a' and 'b'" in lines
    assert "config.config.Labels.v: '1' and '2'" in lines
    assert "manifest: 1 and 2 layers" in lines


def test_something_that_is_no_layout_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="oci-layout is missing"):
        list(diff(tmp_path, tmp_path))
