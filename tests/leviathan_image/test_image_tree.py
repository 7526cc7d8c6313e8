"""Trees become one sorted list; overlaps and odd files are errors that name them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from leviathan_image.errors import ImageError
from leviathan_image.modes import Mode
from leviathan_image.tree import Entry, Kind, compose

MakeTree = Callable[..., Path]


def _by_path(entries: list[Entry]) -> dict[str, Entry]:
    return {entry.path: entry for entry in entries}


def test_sorted_by_bytes_with_parents_first(make_tree: MakeTree) -> None:
    tree = make_tree("a", {"b/z": b"", "b-c": b"", "b.d/x": b"", "é": b"", "Z": b"", "b/a": None})
    assert [entry.path for entry in compose([tree], {})] == ["Z", "b", "b-c", "b.d", "b.d/x", "b/a", "b/z", "é"]


def test_modes_come_from_the_execute_bit_alone(make_tree: MakeTree) -> None:
    tree = make_tree("a", {"usr/bin/run": b"12", "etc/text": b"1", "link": "./usr//bin/run"})
    (tree / "etc").chmod(0o700)
    (tree / "etc/text").chmod(0o600)
    found = _by_path(compose([tree], {}))
    assert (found["usr/bin/run"].mode, found["usr/bin/run"].size) == (0o755, 2)
    assert found["etc/text"].mode == 0o644
    assert found["etc"].mode == 0o755
    assert (found["link"].kind, found["link"].target) == (Kind.SYMLINK, "./usr//bin/run")


def test_a_link_to_a_folder_is_not_followed(make_tree: MakeTree) -> None:
    tree = make_tree("a", {"usr/lib/x": b"", "lib": "usr/lib"})
    assert [entry.path for entry in compose([tree], {})] == ["lib", "usr", "usr/lib", "usr/lib/x"]


def test_trees_may_share_folders(make_tree: MakeTree) -> None:
    one, two = make_tree("one", {"usr/a": b""}), make_tree("two", {"usr/b": b""})
    assert [entry.path for entry in compose([one, two], {})] == ["usr", "usr/a", "usr/b"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"usr/a": b"same"}, {"usr/a": b"same"}),
        ({"usr/a": "x"}, {"usr/a": "x"}),
        ({"usr/a": b""}, {"usr/a": None}),
        ({"usr": "other"}, {"usr": None}),
    ],
)
def test_an_overlap_names_the_path_and_both_trees(
    make_tree: MakeTree, first: dict[str, bytes | str | None], second: dict[str, bytes | str | None]
) -> None:
    one, two = make_tree("one", first), make_tree("two", second)
    with pytest.raises(ImageError) as caught:
        compose([one, two], {})
    assert all(part in caught.value.line() for part in ("/usr", str(one), str(two)))


def test_all_overlaps_are_told_at_once(make_tree: MakeTree) -> None:
    one, two = make_tree("one", {"a": b"", "b": b""}), make_tree("two", {"a": b"", "b": b""})
    with pytest.raises(ImageError, match=r"2 paths .* /a in .* /b in "):
        compose([one, two], {})


def test_overrides_modes_and_makes_folders(make_tree: MakeTree) -> None:
    tree = make_tree("a", {"usr/bin/su": b""})
    modes = {"usr/bin/su": Mode(0o4755), "var/tmp": Mode(0o1777, directory=True), "usr": Mode(0o700, 1, 2)}
    found = _by_path(compose([tree], modes))
    assert found["usr/bin/su"].mode == 0o4755
    assert (found["var/tmp"].mode, found["var/tmp"].kind) == (0o1777, Kind.DIRECTORY)
    assert found["var"].mode == 0o755
    assert (found["usr"].mode, found["usr"].uid, found["usr"].gid) == (0o700, 1, 2)


@pytest.mark.parametrize(
    ("modes", "named"),
    [
        ({"usr/bin/sudo": Mode(0o4755)}, "/usr/bin/sudo (no such path)"),
        ({"link": Mode(0o755)}, "/link (its kind is symlink)"),
        ({"file": Mode(0o755, directory=True)}, "/file (its kind is file)"),
        ({"file/below": Mode(0o755, directory=True)}, "/file/below lies below /file"),
        ({"link/below": Mode(0o755, directory=True)}, "/link/below lies below /link"),
    ],
)
def test_an_override_that_fits_nothing_is_an_error(make_tree: MakeTree, modes: dict[str, Mode], named: str) -> None:
    tree = make_tree("a", {"file": b"", "link": "file"})
    with pytest.raises(ImageError) as caught:
        compose([tree], modes)
    assert named in caught.value.line()


def test_odd_files_are_refused(make_tree: MakeTree) -> None:
    tree = make_tree("a", {"x": b""})
    os.mkfifo(tree / "pipe")
    with pytest.raises(ImageError, match=r"/pipe is neither a file, a folder nor"):
        compose([tree], {})


@pytest.mark.parametrize("name", [b"caf\xe9", b"tab\there", b"line\nbreak"])
def test_odd_names_are_refused(make_tree: MakeTree, name: bytes) -> None:
    tree = make_tree("a", {"x": b""})
    (Path(os.fsdecode(os.fsencode(tree) + b"/" + name))).write_bytes(b"")
    with pytest.raises(ImageError, match=r"holds the name"):
        compose([tree], {})


@pytest.mark.parametrize("target", [b"caf\xe9", b"tab\there", b"line\nbreak"])
def test_links_to_odd_names_are_refused(make_tree: MakeTree, target: bytes) -> None:
    tree = make_tree("a", {"x": b""})
    (tree / "link").symlink_to(os.fsdecode(target))
    with pytest.raises(ImageError, match=r"/link leads to .*: make it anew"):
        compose([tree], {})


def test_a_tree_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is not a folder"):
        compose([tmp_path / "absent"], {})
