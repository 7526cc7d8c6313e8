"""The hygiene check over trees: each rule finds its fault, leaves its neighbour alone, and takes an exception."""

import compileall
import py_compile
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from leviathan_image.errors import ImageError
from leviathan_image.hygiene.forbidden_strings import BUILD_PATHS
from leviathan_image.hygiene.tree_check import check_layers, check_trees
from leviathan_image.layer import Layer

MakeTree = Callable[..., Path]
MakeElf = Callable[..., bytes]
Content = dict[str, bytes | str | None]


@pytest.fixture
def found(make_tree: MakeTree) -> Callable[..., list[tuple[str, str]]]:
    """`found({path: content}, ...)`: (rule, place) of every finding about these trees together."""

    def run(*contents: Content) -> list[tuple[str, str]]:
        trees = [make_tree(f"tree{number}", content) for number, content in enumerate(contents)]
        findings, _ = check_trees(trees, BUILD_PATHS, {}, "table.json")
        return sorted((finding.check, finding.where) for finding in findings)

    return run


Found = Callable[..., list[tuple[str, str]]]


def test_a_clean_tree_has_no_finding(found: Found, make_elf: MakeElf) -> None:
    clean: Content = {
        "usr/bin/bash": b"#!",
        "usr/bin/python3": "python3.11",
        "usr/lib/x86_64-linux-gnu/libx.so.1": make_elf({".text": b"\x90"}, soname="libx.so.1"),
        "usr/lib/x86_64-linux-gnu/libx.so": "libx.so.1",
        "usr/lib/python3/dist-packages/pkg/__init__.py": b"x = 1\n",
        "usr/share/locale/as/LC_MESSAGES/x.mo": b"",
        "usr/share/doc/test/readme": b"build in build/ and see https://x.y/build/z",
    }
    assert found(clean) == []


@pytest.mark.parametrize(
    "text", [b"/nix/store/0123-x", b"\0/build/ktransformers/x.cpp\0", b"-I/build/include", b"/tmp/nix-build-x.drv-0"]
)
def test_build_paths_in_contents(found: Found, text: bytes) -> None:
    assert found({"usr/lib/x": b"..." + text, "usr/lib/y": b"clean"}) == [("build-path", "/usr/lib/x")]


def test_build_paths_in_links_and_compiled_code(found: Found, make_elf: MakeElf) -> None:
    content: Content = {
        "usr/bin/x": "/nix/store/abc/bin/x",
        "usr/bin/y": "../lib/y",
        "usr/lib/a.so": make_elf({".rodata": b"\0/build/src/a.cpp\0"}),
    }
    assert found(content) == [("build-path", "/usr/bin/x"), ("build-path", "/usr/lib/a.so")]


def test_other_patterns_may_be_given(make_tree: MakeTree) -> None:
    tree = make_tree("t", {"x": b"/home/me/y and /nix/store/z"})
    findings, _ = check_trees([tree], ["^/home/me/"], {}, "t")
    assert [finding.what for finding in findings] == ["byte 0: /home/me/y and /nix/store/z"]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("site/deep_gemm/__init__.py", b""),
        ("site/DeepGEMM.txt", b""),
        ("site/x.py", b"import deep_gemm\n"),
        ("site/x.so", b"\0ENABLE_DEEPGEMM\0"),
        ("site/x", "../deep-gemm"),
    ],
)
def test_deepgemm_by_name_and_content(found: Found, path: str, content: bytes | str) -> None:
    assert ("deepgemm", f"/{path}") in found({path: content})


def test_plain_gemm_is_no_deepgemm(found: Found) -> None:
    assert found({"site/deep_learning_gemm.py": b"deep, gemm; deeper_gemm\n"}) == []


def _python_tree(make_tree: MakeTree, mode: py_compile.PycInvalidationMode) -> Path:
    tree = make_tree("py", {"lib/a.py": b"x = 1\n", "lib/b.py": b"y = 2\n"})
    assert compileall.compile_dir(tree / "lib", quiet=1, invalidation_mode=mode)
    return tree


def _pyc(tree: Path) -> list[str]:
    findings, _ = check_trees([tree], ["/nowhere/at/all/"], {}, "t")
    return [finding.what for finding in findings if finding.check == "pyc"]


def test_unchecked_hashes_pass(make_tree: MakeTree) -> None:
    tree = _python_tree(make_tree, py_compile.PycInvalidationMode.UNCHECKED_HASH)
    assert len(list(tree.rglob("*.pyc"))) == 2
    assert _pyc(tree) == []


def test_bytecode_in_a_tree_of_its_own(make_tree: MakeTree, tmp_path: Path) -> None:
    tree = _python_tree(make_tree, py_compile.PycInvalidationMode.UNCHECKED_HASH)
    (tmp_path / "bytecode" / "lib").mkdir(parents=True)
    (tree / "lib/__pycache__").rename(tmp_path / "bytecode/lib/__pycache__")
    findings, _ = check_trees([tree, tmp_path / "bytecode"], ["/nowhere/at/all/"], {}, "t")
    assert [finding.what for finding in findings if finding.check == "pyc"] == []
    assert "has no source next to it: nothing loads it" in _pyc(tmp_path / "bytecode")


@pytest.mark.parametrize(
    ("mode", "what"),
    [
        (py_compile.PycInvalidationMode.TIMESTAMP, "bound to its source by a timestamp"),
        (py_compile.PycInvalidationMode.CHECKED_HASH, "checks its source at every import"),
    ],
)
def test_timestamps_and_checked_hashes_do_not(
    make_tree: MakeTree, mode: py_compile.PycInvalidationMode, what: str
) -> None:
    assert _pyc(_python_tree(make_tree, mode)) == [what, what]


def test_stale_orphaned_foreign_and_cut_bytecode(make_tree: MakeTree) -> None:
    tree = _python_tree(make_tree, py_compile.PycInvalidationMode.UNCHECKED_HASH)
    first, second = sorted(tree.rglob("*.pyc"))
    (tree / "lib/a.py").chmod(0o644)
    (tree / "lib/a.py").write_bytes(b"x = 3\n")
    assert _pyc(tree) == ["was made from other source than the file next to it, and would run in its place"]
    (tree / "lib/a.py").unlink()
    assert _pyc(tree) == ["has no source next to it: nothing loads it"]
    second.write_bytes(b"\x00\x00\r\n" + second.read_bytes()[4:])
    first.write_bytes(b"1234")
    assert sorted(_pyc(tree)) == ["bytecode of another Python version: nothing loads it", "too short for bytecode"]


def test_bytecode_alone_is_judged_by_its_header(make_tree: MakeTree) -> None:
    tree = _python_tree(make_tree, py_compile.PycInvalidationMode.UNCHECKED_HASH)
    shutil.copy(next(tree.rglob("a.*.pyc")), tree / "lib/alone.pyc")
    assert _pyc(tree) == []


def test_the_same_soname_twice(found: Found, make_elf: MakeElf) -> None:
    one = make_elf({".text": b"\x90"}, soname="libgomp.so.1")
    two = make_elf({".text": b"\x90\x90"}, soname="libgomp.so.1")
    assert found({"usr/lib/libgomp.so.1": one}, {"opt/libgomp.so.1": two}) == [("duplicate", "libgomp.so.1")]


def test_the_hash_in_a_vendored_name_does_not_hide_it(found: Found, make_elf: MakeElf) -> None:
    one = make_elf({".text": b"\x90"}, soname="libgomp.so.1")
    vendored = make_elf({".text": b"\x90" * 3}, soname="libgomp-a34b3233.so.1")
    other = make_elf({".text": b"\x90" * 5}, soname="libgomp-plugin.so.1")
    content: Content = {"lib/libgomp.so.1": one, "numpy.libs/libgomp-a34b3233.so.1": vendored, "lib/plugin.so.1": other}
    assert found(content) == [("duplicate", "libgomp.so.1")]


def test_the_same_bytes_twice(found: Found, make_elf: MakeElf) -> None:
    module = make_elf({".text": b"\x90"})
    other = make_elf({".text": b"\x91"})
    assert found({"a/x.so": module, "b/y.so": module, "c/z.so": other}) == [("duplicate", "x.so")]


def test_links_and_single_libraries_are_no_duplicates(found: Found, make_elf: MakeElf) -> None:
    library = make_elf({".text": b"\x90"}, soname="liba.so.1")
    other = make_elf({".text": b"\x91"}, soname="libb.so.1")
    assert found({"a/liba.so.1": library, "b/libb.so.1": other, "b/liba.so.1": "../a/liba.so.1"}) == []


@pytest.mark.parametrize(
    "path",
    [
        "usr/bin/gcc",
        "usr/bin/x86_64-linux-gnu-gcc-12",
        "usr/bin/g++",
        "usr/bin/cc",
        "usr/bin/c++",
        "usr/bin/clang-19",
        "usr/bin/as",
        "usr/bin/ld",
        "usr/bin/x86_64-linux-gnu-ld.bfd",
        "usr/bin/tcc",
        "opt/bin/nvcc",
        "opt/bin/ptxas",
        "opt/bin/cicc",
    ],
)
@pytest.mark.parametrize("content", [b"", "elsewhere"])
def test_compilers(found: Found, path: str, content: bytes | str) -> None:
    assert found({path: content, "usr/bin/bash": b""}) == [("compiler", f"/{path}")]


@pytest.mark.parametrize("name", ["libLLVM-19.so.1", "libclang.so", "libnvrtc.so.12", "libnvvm.so.4", "libgccjit.so.0"])
def test_compilers_as_libraries(found: Found, name: str) -> None:
    assert found({f"usr/lib/{name}": b""}) == [("compiler", f"/usr/lib/{name}")]


@pytest.mark.parametrize(
    "path",
    ["usr/bin/ccache-stats", "usr/bin/asciidoc", "share/gcc", "usr/bin/gold-price", "usr/lib/libnvrtc-builtins.txt"],
)
def test_names_like_compilers(found: Found, path: str) -> None:
    assert found({path: b""}) == []


@pytest.mark.parametrize(
    "path", ["usr/include/x.h", "site/torch/include/a.cuh", "lib/libx.a", "lib/libx.la", "lib/x.o"]
)
def test_development_files(found: Found, path: str) -> None:
    assert found({path: b"", "lib/x.so": b"", "etc/hosts": b""}) == [("dev-file", f"/{path}")]


def test_test_folders_of_packages_once_each(found: Found) -> None:
    content: Content = {
        "usr/lib/python3/dist-packages/numpy/tests/test_a.py": b"",
        "usr/lib/python3/dist-packages/numpy/tests/test/b.py": b"",
        "opt/site-packages/x/test_data/big": b"",
        "opt/site-packages/torch/testing/__init__.py": b"",
        "usr/share/tests/x": b"",
    }
    assert found(content) == [
        ("test-data", "/opt/site-packages/x/test_data"),
        ("test-data", "/usr/lib/python3/dist-packages/numpy/tests"),
    ]


def test_finished_layers_are_judged(layer_of: Callable[..., Layer]) -> None:
    good, bad = layer_of("good", {"x": b"1"}), layer_of("bad", {"y": b"2"})
    findings, facts = check_layers([good.folder])
    assert findings == []
    assert facts == ["layer good: 1 members, 10,240 bytes of tar"]
    bad.blob.unlink()
    shutil.copy(good.blob, bad.blob)
    (finding,) = check_layers([bad.folder])[0]
    assert finding.check == "diff-id"


def test_a_damaged_library_is_an_error(make_tree: MakeTree, make_elf: MakeElf) -> None:
    body = bytearray(make_elf({".text": b"\x90"}, soname="liba.so"))
    body[58] = 1
    with pytest.raises(ImageError, match=r"liba\.so is a damaged ELF file"):
        check_trees([make_tree("t", {"liba.so": bytes(body)})], BUILD_PATHS, {}, "t")
