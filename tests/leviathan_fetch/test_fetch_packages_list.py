"""Debian's package lists, and the roots and the lock made from them."""

import json
from pathlib import Path

import pytest

from leviathan_fetch.clients import deb822 as packages_list
from leviathan_fetch.errors import FetchError
from leviathan_fetch.locks import debian as lock_debian
from leviathan_fetch.project import Project


def paragraph(name: str, version: str, sha: str = "a" * 64, size: int = 10, note: str = "") -> str:
    return (
        f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nDescription: words: more\n and more{note}\n"
        f"Filename: pool/{name}_{version}.deb\nSize: {size}\nSHA256: {sha}\n"
    )


MAIN = "\n".join([paragraph("bash", "1"), paragraph("bash-doc", "1"), paragraph("zlib", "2")])


def test_only_what_is_wanted_is_taken() -> None:
    found = packages_list.parse(MAIN, "bookworm", {("bash", "1"), ("zlib", "3")})
    assert found == {
        ("bash", "1"): packages_list.Binary("bash", "1", "amd64", "bookworm", "pool/bash_1.deb", "a" * 64, 10)
    }


def test_the_first_suite_wins() -> None:
    lists = [("bookworm", MAIN), ("bookworm-security", paragraph("bash", "1") + "\n" + paragraph("zlib", "2.1"))]
    found = packages_list.find(lists, {("bash", "1"), ("zlib", "2.1")})
    assert [(item.package, item.suite) for item in found.values()] == [
        ("bash", "bookworm"),
        ("zlib", "bookworm-security"),
    ]


def test_a_package_in_no_list() -> None:
    with pytest.raises(FetchError, match="no package list has zlib=9"):
        packages_list.find([("bookworm", MAIN)], {("bash", "1"), ("zlib", "9")})


def test_one_package_in_two_versions() -> None:
    lists = [("bookworm", MAIN), ("bookworm-security", paragraph("zlib", "2.1"))]
    with pytest.raises(FetchError, match=r"zlib would be locked in two versions, 2 and 2\.1"):
        packages_list.find(lists, {("zlib", "2"), ("zlib", "2.1")})


ROOTS: dict[str, object] = {
    "suites": ["bookworm"],
    "architecture": "amd64",
    "groups": {"image": ["bash"]},
    "seed": "busybox-static",
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "nix" / "locks").mkdir(parents=True)
    return Project(tmp_path)


def write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value))


def test_roots_are_read(project: Project) -> None:
    write(project.debian_roots, ROOTS)
    roots = lock_debian.read_roots(project.debian_roots)
    assert (roots.suites, roots.groups, roots.seed) == (("bookworm",), {"image": ("bash",)}, "busybox-static")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"seeds": "x"}, "has unknown key seeds"),
        ({"groups": []}, "groups: expected an object of lists, got a list"),
        ({"groups": {"image": "bash"}}, "image: expected a list of names"),
        ({"groups": {"image": []}}, "image: expected a list of names"),
        ({"suites": [1]}, "suites: expected a list of names"),
        ({"architecture": ["amd64"]}, "architecture: expected a name, got a list"),
        ({"seed": ""}, "seed: expected a name, got empty"),
    ],
)
def test_bad_roots_name_the_key(project: Project, change: dict[str, object], why: str) -> None:
    write(project.debian_roots, ROOTS | change)
    with pytest.raises(FetchError, match=why) as got:
        lock_debian.read_roots(project.debian_roots)
    assert "debian-roots.json" in got.value.remedy


def test_missing_keys_are_named(project: Project) -> None:
    write(project.debian_roots, {"suites": ["bookworm"], "groups": {"a": ["b"]}})
    with pytest.raises(FetchError, match="has no key architecture, seed"):
        lock_debian.read_roots(project.debian_roots)


def test_roots_that_do_not_parse_name_line_and_column(project: Project) -> None:
    project.debian_roots.write_text('{\n "suites": [,]\n}')
    with pytest.raises(FetchError, match=r"debian-roots\.json:2:13 is not JSON"):
        lock_debian.read_roots(project.debian_roots)


def lock_for(project: Project, **change: object) -> None:
    write(project.debian_roots, ROOTS)
    sha256 = lock_debian.read_roots(project.debian_roots).sha256
    write(
        project.debian_lock, {"roots_sha256": sha256, "groups": {"image": ["bash"]}, "packages": {"bash": {}}} | change
    )


def test_a_lock_that_fits(project: Project) -> None:
    lock_for(project)
    assert lock_debian.check(project) == []


def test_a_lock_whose_roots_have_changed(project: Project) -> None:
    lock_for(project)
    write(project.debian_roots, ROOTS | {"suites": ["trixie"]})
    assert lock_debian.check(project) == ["debian.json is older than debian-roots.json: run make lock"]


def test_a_lock_whose_group_has_an_unlocked_member(project: Project) -> None:
    lock_for(project, groups={"image": ["bash", "dash"]})
    assert lock_debian.check(project) == ["debian.json: group image has dash, which is not locked: run make lock"]


def test_a_lock_that_is_missing_or_broken(project: Project) -> None:
    write(project.debian_roots, ROOTS)
    with pytest.raises(FetchError, match=r"debian\.json does not exist") as missing:
        lock_debian.check(project)
    project.debian_lock.write_text('{"a": 1')
    with pytest.raises(FetchError, match=r"debian\.json:1:8 is not JSON") as broken:
        lock_debian.check(project)
    assert missing.value.remedy == broken.value.remedy == "run make lock"


def test_the_repositorys_own_lock_fits(root: Path) -> None:
    assert lock_debian.check(Project(root)) == []
