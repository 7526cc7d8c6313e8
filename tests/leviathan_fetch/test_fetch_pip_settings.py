"""Which of the user's pip and Poetry settings count: those that say where packages come from, and no others."""

import os
from pathlib import Path

import pytest

from leviathan_fetch import process
from leviathan_fetch.clients import pip_client
from leviathan_fetch.locks import poetry
from leviathan_fetch.project import Project

BENDING = """[global]
index-url = https://user:hunter2@mirror.example/simple
user = true
require-hashes = true
constraint = /nonexistent
[install]
no-binary = :all:
target = /elsewhere
extra-index-url =
    https://one.example/simple
    https://two.example/simple
"""


@pytest.fixture
def bent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A Python with pip whose user has such a pip.conf and such variables."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "POETRY_")):
            monkeypatch.delenv(name)
    (tmp_path / "pip.conf").write_text(BENDING)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_PREFIX", "/elsewhere")
    monkeypatch.setenv("PIP_TIMEOUT", "7")
    python = pip_client.find_python()
    assert python is not None
    return python


def test_only_the_settings_of_where_count(bent: str) -> None:
    environment = pip_client.environment(bent)
    assert environment["PIP_INDEX_URL"] == "https://user:hunter2@mirror.example/simple"
    assert environment["PIP_EXTRA_INDEX_URL"] == "https://one.example/simple https://two.example/simple"
    assert (environment["PIP_TIMEOUT"], environment["PIP_PREFIX"]) == ("7", "")
    assert environment["PIP_CONFIG_FILE"] == os.devnull
    assert not {"PIP_USER", "PIP_TARGET", "PIP_NO_BINARY", "PIP_CONSTRAINT", "PIP_REQUIRE_HASHES"} & set(environment)
    said = process.run([bent, "-c", pip_client.READ_SETTINGS], env=environment).stdout  # pip's own view of it
    assert "mirror.example" in said
    assert not any(word in said for word in ("elsewhere", "require-hashes", "constraint", 'user"'))


def test_another_index_is_named_without_its_password(bent: str) -> None:
    named = pip_client.other_index(bent)
    assert named.startswith("index-url https://mirror.example/simple, extra-index-url ")
    assert "hunter2" not in named


def test_the_default_index_is_not_named(bent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert pip_client.other_index(bent) == ""


def test_a_lock_says_which_packages_come_from_elsewhere() -> None:
    text = """
[[package]]
name = "here"
version = "1"
[[package]]
name = "there"
version = "2"
[package.source]
type = "legacy"
url = "https://user:hunter2@mirror.example/simple"
"""
    assert poetry.other_sources(text) == ["there comes from https://mirror.example/simple"]


def test_poetry_reads_none_of_the_users_settings(bent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Poetry that writes down what it was given stands in for the real one."""
    project = Project(tmp_path)
    folder = tmp_path / "environment"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("[project]\n")
    seen = tmp_path / "seen"
    script = tmp_path / "relock.py"
    script.write_text(
        "import os, sys, pathlib\n"
        f"pathlib.Path({str(seen)!r}).write_text('\\n'.join(f'{{k}}={{v}}' for k, v in os.environ.items()))\n"
        "pathlib.Path(sys.argv[-1], 'poetry.lock').write_text('')\n"
    )
    monkeypatch.setattr(poetry, "RELOCK", script)
    monkeypatch.setattr(poetry, "install", lambda *_: (bent, tmp_path / "poetry"))
    monkeypatch.setenv("POETRY_INSTALLER_NO_BINARY", ":all:")
    lines: list[str] = []
    poetry.refresh(project, folder, lines.append)
    given = dict(line.partition("=")[::2] for line in seen.read_text().splitlines())
    assert "POETRY_INSTALLER_NO_BINARY" not in given
    assert Path(given["POETRY_CONFIG_DIR"]).is_relative_to(project.state)
    assert lines == [f"lock: pip's settings use {pip_client.other_index(bent)}, but Poetry uses the default index"]
