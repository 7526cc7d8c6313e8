"""What changed between two locks, and the lock of source archives."""

import json
import shutil
from pathlib import Path

import pytest

from leviathan_fetch.cli import LOCKS
from leviathan_fetch.errors import FetchError
from leviathan_fetch.locks import lock
from leviathan_fetch.locks import sources as lock_sources
from leviathan_fetch.locks.lock import Versions
from leviathan_fetch.project import Project

ENTRY = {
    "package": "some-engine",
    "version": "0.2.1.post1",
    "filename": "some_engine-0.2.1.post1.tar.gz",
    "sha256": "a" * 64,
    "size": 6_749_699,
}


def lines(old: Versions, new: Versions) -> list[str]:
    return [change.line() for change in lock.changes("debian", old, new)]


def test_changes_are_old_arrow_new_with_version_and_size() -> None:
    old: Versions = {"bash": ("5.1", 1_400_000), "gone": ("1", 999), "same": ("1", 5), "rebuilt": ("2", 10)}
    new: Versions = {"bash": ("5.2", 1_490_652), "come": ("2", 12_345_678_901), "same": ("1", 5), "rebuilt": ("2", 11)}
    assert lines(old, new) == [
        "debian: bash 5.1 (1.4 MB) → 5.2 (1.5 MB)",
        "debian: come none → 2 (12.35 GB)",
        "debian: gone 1 (999 B) → none",
        "debian: rebuilt 2 (10 B) → 2 (11 B)",
    ]


def test_a_lock_without_sizes_shows_versions_alone() -> None:
    assert lines({"torch": ("2.9.0", None)}, {"torch": ("2.9.1", None)}) == ["debian: torch 2.9.0 → 2.9.1"]


def test_equal_locks_have_no_changes() -> None:
    assert lines({"a": ("1", 2)}, {"a": ("1", 2)}) == []


def test_versions_of_each_lock() -> None:
    debian = {"packages": {"bash": {"version": "5", "size": 3}}, "seed": {"version": "1", "size": 2}}
    assert lock.debian_versions(debian) == {"bash": ("5", 3), "seed": ("1", 2)}
    unlocked = {"package": "y", "version": "2"}
    assert lock.source_versions({"x": ENTRY, "y": unlocked}) == {"x": ("0.2.1.post1", 6_749_699)}


def test_a_package_that_changes_its_groups_only() -> None:
    old = {"packages": {"bash": {}, "gone": {}}, "groups": {"image": ["bash", "gone"], "build": ["bash"]}}
    new = {"packages": {"bash": {}, "come": {}}, "groups": {"image": ["come"], "build": ["bash"]}}
    found = lock.regroupings(lock.debian_groups(old), lock.debian_groups(new))
    assert [change.line() for change in found] == ["debian: bash is in build, image → build"]
    assert lock.regroupings(lock.debian_groups(old), lock.debian_groups(old)) == []


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "nix" / "locks").mkdir(parents=True)
    return Project(tmp_path)


def sources(project: Project, **change: object) -> list[str]:
    project.sources_lock.write_text(json.dumps({"engine": ENTRY | change}))
    return lock_sources.check(project)


def test_sources_that_fit(project: Project) -> None:
    assert sources(project) == []
    assert sources(project, package="Some-Engine", filename="some-engine-0.2.1.post1.tar.gz") == []


@pytest.mark.parametrize("change", [{"version": "0.2.1"}, {"version": "0.2.2"}, {"package": "other"}, {"sha256": "a"}])
def test_sources_that_do_not_fit(project: Project, change: dict[str, object]) -> None:
    version = change.get("version", ENTRY["version"])
    assert sources(project, **change) == [f"sources.json: engine does not lock {version}: run make lock"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"version": 1}, "engine needs package and version"),
        ({"sha265": "x"}, "engine has unknown key sha265"),
        ({"size": "x"}, r"sources\.json: engine: size: expected an integer, got a string"),
        ({"size": True}, "size: expected an integer, got a boolean"),
    ],
)
def test_broken_sources_name_the_key(project: Project, change: dict[str, object], why: str) -> None:
    with pytest.raises(FetchError, match=why):
        sources(project, **change)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"groups": []}, "groups: expected an object, got a list"),
        ({"packages": []}, "packages: expected an object, got a list"),
        ({"groups": {"build": "bash"}}, "groups: build: expected a list, got a string"),
    ],
)
def test_a_debian_lock_of_the_wrong_type_names_file_and_key(
    project: Project, root: Path, wrong: dict[str, object], why: str
) -> None:
    shutil.copyfile(Project(root).debian_roots, project.debian_roots)
    good = json.loads(Project(root).debian_lock.read_text())
    project.debian_lock.write_text(json.dumps(good))
    assert lock.check(project, ["debian"]) == []
    project.debian_lock.write_text(json.dumps(good | wrong))
    with pytest.raises(FetchError) as got:
        lock.check(project, ["debian"])
    assert got.value.line() == f"{project.debian_lock}: {why}; run make lock"


def test_a_group_that_names_what_is_no_name(project: Project, root: Path) -> None:
    shutil.copyfile(Project(root).debian_roots, project.debian_roots)
    good = json.loads(Project(root).debian_lock.read_text())
    project.debian_lock.write_text(json.dumps(good | {"groups": {"build": [["bash"]]}}))
    assert lock.check(project, ["debian"]) == [
        "debian.json: group build has ['bash'], which is not locked: run make lock"
    ]


def test_every_lock_of_the_repository_fits(root: Path) -> None:
    assert lock.check(Project(root), LOCKS) == []
