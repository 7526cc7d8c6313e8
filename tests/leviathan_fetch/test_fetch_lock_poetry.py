"""Poetry's content hash, against the repository's own locks, which Poetry wrote."""

import copy
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from leviathan_fetch.errors import FetchError
from leviathan_fetch.locks import poetry as lock_poetry

PYPROJECT: dict[str, Any] = {
    "project": {"name": "x", "requires-python": ">=3.11", "dependencies": ["click"], "description": "d"},
    "tool": {"poetry": {"group": {"test": {"dependencies": {"pytest": "^8"}}}, "packages": []}, "ruff": {"a": 1}},
}


@pytest.mark.parametrize("folder", [".", "nix/locks/engine"])
def test_the_hash_is_the_one_that_poetry_wrote(root: Path, folder: str) -> None:
    pyproject = tomllib.loads((root / folder / "pyproject.toml").read_text())
    lock = tomllib.loads((root / folder / "poetry.lock").read_text())
    assert lock_poetry.content_hash(pyproject) == lock["metadata"]["content-hash"]


def test_a_project_of_the_old_kind() -> None:
    """Poetry 2.5.1 gave this hash for a project whose dependencies stand under [tool.poetry] alone."""
    old = {"tool": {"poetry": {"name": "x", "dependencies": {"python": ">=3.11", "click": "^8"}}}}
    assert lock_poetry.content_hash(old) == "8a58a6d3391e69b3c6bad36b35ac6a9e0bcdb552cc9af67d9c8f30ec203628c0"


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [("project", "dependencies", ["click", "rich"]), ("project", "requires-python", ">=3.12"), ("poetry", "group", {})],
)
def test_what_matters_for_the_solution_changes_the_hash(table: str, key: str, value: object) -> None:
    changed = copy.deepcopy(PYPROJECT)
    (changed["project"] if table == "project" else changed["tool"]["poetry"])[key] = value
    assert lock_poetry.content_hash(changed) != lock_poetry.content_hash(PYPROJECT)


def test_what_does_not_matter_leaves_it() -> None:
    changed = copy.deepcopy(PYPROJECT)
    changed["project"]["description"] = "another"
    changed["tool"]["ruff"]["a"] = 2
    changed["tool"]["poetry"]["packages"] = [{"include": "x"}]
    assert lock_poetry.content_hash(changed) == lock_poetry.content_hash(PYPROJECT)


@pytest.fixture
def folder(root: Path, tmp_path: Path) -> Path:
    for name in ("pyproject.toml", "poetry.lock"):
        shutil.copyfile(root / name, tmp_path / name)
    return tmp_path


def test_a_stale_lock_is_one_line(folder: Path) -> None:
    assert lock_poetry.check(folder, "poetry.lock") == []
    text = (folder / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text(text.replace('"click (>=8.1,<9)"', '"click (>=8.0,<9)"'))
    stale = "poetry.lock does not match the pyproject.toml next to it: run make lock"
    assert lock_poetry.check(folder, "poetry.lock") == [stale]


def test_a_lock_that_does_not_parse_names_file_and_place(folder: Path) -> None:
    (folder / "poetry.lock").write_text('[metadata]\nx = "\n')
    with pytest.raises(FetchError, match=r"poetry\.lock is not TOML: .* \(at line 2, column 6\)") as got:
        lock_poetry.check(folder, "poetry.lock")
    assert "make lock" in got.value.remedy


def test_a_lock_that_is_not_there(folder: Path) -> None:
    (folder / "poetry.lock").unlink()
    with pytest.raises(FetchError, match=r"poetry\.lock does not exist"):
        lock_poetry.check(folder, "poetry.lock")


def test_the_packages_of_a_lock(root: Path) -> None:
    found = lock_poetry.packages((root / "nix/locks/engine/poetry.lock").read_text())
    assert found["torch"] == ("2.9.1", None)
    assert lock_poetry.packages("") == {}


def test_the_relock_call(tmp_path: Path) -> None:
    assert lock_poetry.relock_argv("/usr/bin/python3", tmp_path) == [
        "/usr/bin/python3",
        str(lock_poetry.RELOCK),
        "lock",
        "--regenerate",
        "--no-interaction",
        "--no-ansi",
        "--directory",
        str(tmp_path),
    ]
    assert lock_poetry.RELOCK.is_file()


def test_a_lock_whose_metadata_is_no_table_does_not_fit(root: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes((root / "pyproject.toml").read_bytes())
    (tmp_path / "poetry.lock").write_bytes((root / "poetry.lock").read_bytes())
    assert lock_poetry.check(tmp_path, "poetry.lock") == []
    (tmp_path / "poetry.lock").write_text("metadata = []\n")
    stale = lock_poetry.check(tmp_path, "poetry.lock")
    assert stale == ["poetry.lock does not match the pyproject.toml next to it: run make lock"]
