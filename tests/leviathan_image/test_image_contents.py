"""Layers on top of one another: what may be in two of them and what may not."""

from collections.abc import Callable

import pytest

from leviathan_image.errors import ImageError
from leviathan_image.layer import Layer
from leviathan_image.layer_overlaps import check_stack, read_contents
from leviathan_image.modes import Mode

MakeLayer = Callable[..., Layer]


def _stack(layer_of: MakeLayer, lower: dict[str, object], upper: dict[str, object], *shadow: str) -> list[str]:
    layers = [layer_of("lower", lower), layer_of("upper", upper)]
    return [finding.line() for finding in check_stack([read_contents(layer) for layer in layers], shadow)]


def test_shared_folders_are_fine(layer_of: MakeLayer) -> None:
    assert _stack(layer_of, {"usr/a": b""}, {"usr/b": b""}) == []


@pytest.mark.parametrize(
    ("lower", "upper", "named"),
    [
        ({"lib": "usr/lib"}, {"lib/x": b""}, "symlink and directory in layer lower and in layer upper"),
        ({"lib/x": b""}, {"lib": "usr/lib"}, "directory and symlink in layer lower and in layer upper"),
        ({"etc/x": b"1"}, {"etc/x": b"2"}, "stack: /etc/x: in layer lower and in layer upper"),
        ({"etc/x": "1"}, {"etc/x": b"2"}, "stack: /etc/x: in layer lower and in layer upper"),
    ],
)
def test_what_disturbs_a_lower_layer_is_found(
    layer_of: MakeLayer, lower: dict[str, object], upper: dict[str, object], named: str
) -> None:
    assert any(named in line for line in _stack(layer_of, lower, upper))


def test_a_folder_keeps_its_mode(layer_of: MakeLayer) -> None:
    lower = layer_of("lower", {}, {"tmp": Mode(0o1777, directory=True)})
    same = layer_of("same", {}, {"tmp": Mode(0o1777, directory=True)})
    other = layer_of("other", {"tmp/x": b""})
    assert check_stack([read_contents(lower), read_contents(same)], ()) == []
    (finding,) = check_stack([read_contents(lower), read_contents(other)], ())
    assert "1777 0 0 and 0755 0 0" in finding.what


def test_a_shadow_allows_a_file_and_nothing_else(layer_of: MakeLayer) -> None:
    lower: dict[str, object] = {"etc/ld.so.cache": b"1", "lib": "usr/lib"}
    upper: dict[str, object] = {"etc/ld.so.cache": b"2", "lib/x": b""}
    (line,) = _stack(layer_of, lower, upper, "/etc/ld.so.*", "/lib")[:1]
    assert "/lib: symlink and directory" in line


def test_a_stale_shadow_is_found(layer_of: MakeLayer) -> None:
    (line,) = _stack(layer_of, {"a": b""}, {"b": b""}, "/etc/ld.so.cache")
    assert "fits no path that two layers hold" in line


def test_a_name_may_hold_what_ends_a_line_elsewhere(layer_of: MakeLayer) -> None:
    assert "a\u2028b\x85" in [row.path for row in read_contents(layer_of("odd", {"a\u2028b\x85": b""}))]


def test_a_damaged_list_is_an_error(layer_of: MakeLayer) -> None:
    layer = layer_of("a", {"x": b""})
    layer.contents.write_text("f\t0644\n")
    with pytest.raises(ImageError, match="line 1 is not an entry"):
        read_contents(layer)
    layer.contents.unlink()
    with pytest.raises(ImageError, match="cannot read"):
        read_contents(layer)
