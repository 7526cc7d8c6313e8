"""Exceptions from the hygiene check: they cover their rule only, go stale, and are read from a file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from leviathan_image.errors import ImageError
from leviathan_image.hygiene.exceptions import Exceptions, apply, read_exceptions
from leviathan_image.hygiene.forbidden_strings import BUILD_PATHS
from leviathan_image.hygiene.rules import Rule
from leviathan_image.hygiene.tree_check import check_trees

MakeTree = Callable[..., Path]
MakeElf = Callable[..., bytes]


def _exceptions(**tables: dict[str, str]) -> Exceptions:
    return {Rule(name.replace("_", "-")): table for name, table in tables.items()}


def test_exceptions_cover_their_rule_only_and_go_stale(make_tree: MakeTree) -> None:
    tree = make_tree("t", {"triton/bin/ptxas": b"/nix/store/", "usr/bin/gcc": b""})

    def run(exceptions: Exceptions) -> list[tuple[str, str]]:
        findings, _ = check_trees([tree], BUILD_PATHS, exceptions, "table.json")
        return sorted((finding.check, finding.where) for finding in findings)

    everything = [("build-path", "/triton/bin/ptxas"), ("compiler", "/triton/bin/ptxas"), ("compiler", "/usr/bin/gcc")]
    assert run({}) == everything
    assert run(_exceptions(compiler={"*/triton/bin/ptxas": "at first use"})) == [everything[0], everything[2]]
    stale = _exceptions(compiler={"*/triton/bin/ptxas": "at first use", "*/nvcc": "was needed"})
    assert run(stale) == [everything[0], ("compiler", "*/nvcc"), everything[2]]


def test_exceptions_for_duplicates_name_the_library(make_tree: MakeTree, make_elf: MakeElf) -> None:
    body = make_elf({".text": b"\x90"}, soname="libgomp.so.1")
    tree = make_tree("t", {"a/libgomp.so.1": body, "b/libgomp.so.1": body})
    findings, facts = check_trees(
        [tree], BUILD_PATHS, _exceptions(duplicate={"libgomp.so.1": "torch brings its own"}), "t"
    )
    assert findings == []
    assert "2 shared libraries in 1 trees" in facts[0]


def test_reads_exceptions(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"compiler": {"*/ptxas": "triton"}}))
    assert read_exceptions(path) == {Rule.COMPILER: {"*/ptxas": "triton"}}
    assert read_exceptions(None) == {}
    assert apply([], {}, "t") == []


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"compilers": {}}, "unknown key compilers"),
        ({"compiler": ["*/ptxas"]}, "compiler is ['*/ptxas']"),
        ({"compiler": {"*/ptxas": " "}}, "*/ptxas has no reason"),
    ],
)
def test_malformed_exceptions_are_named(tmp_path: Path, document: object, named: str) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ImageError) as caught:
        read_exceptions(path)
    assert named in caught.value.line()
