"""Byte search: every place in a file, across buffers, folded and anchored."""

from pathlib import Path

import pytest

from leviathan_image.errors import ImageError
from leviathan_image.hygiene.bytesearch import Needle, path_needle, search, search_text

_STORE = path_needle("/nix/store/")
_BUILD = path_needle("^/build/")
_FOLDED = Needle(b"deep_gemm", fold=True)


def _search(tmp_path: Path, content: bytes, *needles: Needle) -> list[tuple[bytes, int, int]]:
    path = tmp_path / "f"
    path.write_bytes(content)
    return [(hit.needle.text, hit.offset, hit.count) for hit in search(path, needles)]


@pytest.mark.parametrize("start", [0, 1, 5000, (1 << 20) - 20, (1 << 20) - 5, 1 << 20, (1 << 20) + 7, (3 << 20) + 1])
def test_found_once_wherever_it_lies(tmp_path: Path, start: int) -> None:
    content = bytes(start) + b"/nix/store/abc" + bytes((4 << 20) - start)
    assert _search(tmp_path, content, _STORE, _BUILD) == [(b"/nix/store/", start, 1)]


def test_many_are_counted_once_each(tmp_path: Path) -> None:
    content = (b"/nix/store/x" + bytes(1000)) * 5000
    assert _search(tmp_path, content, _STORE) == [(b"/nix/store/", 0, 5000)]


def test_nothing_is_found_in_nothing(tmp_path: Path) -> None:
    assert _search(tmp_path, b"", _STORE, _FOLDED) == []
    assert _search(tmp_path, b"/nix/stor", _STORE) == []


@pytest.mark.parametrize("text", [b"deep_gemm", b"DEEP_GEMM", b"Deep_Gemm"])
def test_folded_needles_ignore_case(tmp_path: Path, text: bytes) -> None:
    assert _search(tmp_path, b"import " + text, _FOLDED) == [(b"deep_gemm", 7, 1)]


def test_others_do_not(tmp_path: Path) -> None:
    assert _search(tmp_path, b"/NIX/STORE/", _STORE) == []


@pytest.mark.parametrize(
    "text",
    [b"/build/x", b" /build/x", b"\0/build/x", b'"/build/x', b"=/build/x", b"-I/build/x", b"-L/build/x", b":/build/x"],
)
def test_an_anchored_needle_is_found_where_a_path_begins(tmp_path: Path, text: bytes) -> None:
    assert len(_search(tmp_path, text, _BUILD)) == 1


@pytest.mark.parametrize(
    "text", [b"https://x.y/build/z", b"src/build/x", b"./build/x", b"~/build/x", b"../build/x", b"-/build/"]
)
def test_and_not_inside_another_path(tmp_path: Path, text: bytes) -> None:
    assert _search(tmp_path, text, _BUILD) == []


def test_an_anchor_holds_across_buffers(tmp_path: Path) -> None:
    for start in range((1 << 20) - 3, (1 << 20) + 20):
        assert _search(tmp_path, b"x" * start + b"/build/", _BUILD) == []
        assert _search(tmp_path, b"\0" * start + b"/build/", _BUILD) == [(b"/build/", start, 1)]


def test_the_surroundings_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"\x01\x02RUNPATH=/nix/store/abc-gcc/lib\x00more")
    (hit,) = search(path, [_STORE])
    assert hit.around == "RUNPATH=/nix/store/abc-gcc/lib"


def test_texts_are_searched_the_same_way() -> None:
    assert [hit.offset for hit in search_text("a/nix/store/b", [_STORE, _BUILD, _FOLDED])] == [1]


def test_an_empty_pattern_is_refused() -> None:
    for pattern in ("", "^"):
        with pytest.raises(ImageError, match="empty path pattern"):
            path_needle(pattern)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot read"):
        search(tmp_path / "absent", [_STORE])
