"""The lock of the Kubernetes programs, and that the one in this repository fits its sources."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from leviathan_fetch.errors import FetchError
from leviathan_fetch.kubernetes import __main__ as go
from leviathan_fetch.kubernetes import go_lock
from leviathan_fetch.kubernetes.go_fetch import store_name
from leviathan_fetch.project import Project


@pytest.fixture
def project(root: Path, tmp_path: Path) -> Project:
    """A checkout with only nix/kubernetes."""
    shutil.copytree(root / "nix" / "kubernetes", tmp_path / "nix" / "kubernetes")
    (tmp_path / "nix" / "locks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    return Project(tmp_path)


def change(project: Project, edit: Any) -> None:
    """Let `edit` change the lock's object."""
    path = go_lock.lock_file(project)
    value = json.loads(path.read_text(encoding="utf-8"))
    edit(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def test_the_lock_fits_its_sources(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    lock = go_lock.read(project)
    assert sorted(lock.debs) == ["etcd-server", "golang-1.24-go", "golang-1.24-src"]
    assert lock.filename == f"kubernetes-modules-{lock.version}.tar"
    assert lock.version == go_lock.kubernetes_version(go_lock.source_folder(project))
    assert lock.version.startswith("1.34.")
    assert go.main(["check", "--project", str(project.root)]) == 0
    assert "fits its sources" in capsys.readouterr().out


@pytest.mark.parametrize("name", go_lock.SOURCES)
def test_a_changed_source_makes_it_stale(project: Project, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with (go_lock.source_folder(project) / name).open("a", encoding="utf-8") as stream:
        stream.write("\n")
    assert go.main(["check", "--project", str(project.root)]) == 1
    assert "does not match the sources in" in capsys.readouterr().err


def test_sources_do_not_run_into_one_another(project: Project) -> None:
    folder = go_lock.source_folder(project)
    before = go_lock.sources_digest(folder)
    mod, total = ((folder / name).read_bytes() for name in ("go.mod", "go.sum"))
    (folder / "go.mod").write_bytes(mod + total[:1])
    (folder / "go.sum").write_bytes(total[1:])
    assert go_lock.sources_digest(folder) != before


def test_a_broken_lock_is_named(project: Project) -> None:
    change(project, lambda value: value["modules"].pop("size"))
    with pytest.raises(FetchError, match="modules has no size"):
        go_lock.read(project)
    change(project, lambda value: value["modules"].update(size=1))
    change(project, lambda value: value["debs"]["etcd-server"].pop("sha256"))
    with pytest.raises(FetchError, match=r"debs: etcd-server has no sha256"):
        go_lock.read(project)
    change(project, lambda value: value["debs"]["etcd-server"].update(sha256="a", sha265="b"))
    with pytest.raises(FetchError, match=r"debs: etcd-server has unknown key sha265"):
        go_lock.read(project)


@pytest.mark.parametrize("command", ["check", "fetch"])
@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"debs": []}, "debs: expected an object, got a list"),
        ({"suite": None}, "suite: expected a string, got null"),
        ({"architecture": 1}, "architecture: expected a string, got an integer"),
        ({"modules": "x"}, "modules: expected an object, got a string"),
        ({"modules": {"filename": []}}, "modules: filename: expected a string, got a list"),
        ({"debs": {"etcd-server": []}}, "debs: etcd-server: expected an object, got a list"),
    ],
)
def test_a_value_of_the_wrong_type_is_one_line(
    project: Project, command: str, wrong: dict[str, Any], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change(project, lambda value: value.update(wrong))
    assert go.main([command, "--project", str(project.root)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"leviathan: {go_lock.lock_file(project)}: {why}; ")
    assert len(said.splitlines()) == 1


def test_a_lock_without_a_suite_cannot_be_refreshed(project: Project) -> None:
    change(project, lambda value: value.pop("suite"))
    said: list[str] = []
    with pytest.raises(FetchError, match=r"lock\.json has no suite"):
        go_lock.locked_debs(project, said.append)
    assert said == []


def test_a_go_mod_without_kubernetes_is_named(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module x\n", encoding="utf-8")
    with pytest.raises(FetchError, match=r"does not require k8s\.io/kubernetes"):
        go_lock.kubernetes_version(tmp_path)


def test_every_staging_module_has_the_version_of_kubernetes(root: Path) -> None:
    lines = (root / "nix" / "kubernetes" / "src" / "go.mod").read_text(encoding="utf-8").splitlines()
    replaced = [line.split() for line in lines if "=>" in line]
    wanted = "v0." + go_lock.kubernetes_version(root / "nix" / "kubernetes" / "src").partition(".")[2]
    assert len(replaced) > 25
    assert [words for words in replaced if words[0] != words[2] or words[3] != wanted] == []


def test_names_in_the_store() -> None:
    assert store_name("pool/main/b/x_1%3a2~rc1_amd64.deb") == "x_1-2-rc1_amd64.deb"
