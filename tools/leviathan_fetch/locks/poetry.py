"""The locks of Python environments: Poetry makes them, in a private installation; checking them needs neither.

A lock fits its pyproject.toml when the content hash in it is that of the tables which matter for the solution, as
Poetry computes it (`Locker._get_content_hash` of Poetry 2.5).
"""

import hashlib
import json
import os
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leviathan_fetch import process
from leviathan_fetch.clients import http, pip_client
from leviathan_fetch.errors import FetchError
from leviathan_fetch.project import Project

POETRY = "2.5.1"
RELOCK = Path(__file__).with_name("poetry_script.py")
PROJECT_KEYS = ("requires-python", "dependencies", "optional-dependencies")
LEGACY_KEYS = ("dependencies", "source", "extras", "dev-dependencies")
KEYS = (*LEGACY_KEYS, "group")


def read_toml(path: Path, remedy: str) -> dict[str, Any]:
    """The table in `path`. Errors: FetchError with file and place when it does not parse or does not exist."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FetchError(f"{path} does not exist", remedy) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FetchError(f"{path} is not TOML: {error}", remedy) from None


def content_hash(pyproject: dict[str, Any]) -> str:
    """Poetry's content hash of a parsed pyproject.toml."""
    project = {key: value for key, value in pyproject.get("project", {}).items() if key in PROJECT_KEYS}
    groups = pyproject.get("dependency-groups", {})
    tool = pyproject.get("tool", {}).get("poetry", {})
    modern = bool(project or groups)
    poetry = {key: tool.get(key) for key in KEYS if tool.get(key) is not None or (key in LEGACY_KEYS and not modern)}
    relevant: dict[str, Any] = {}
    if project:
        relevant["project"] = project
    if groups:
        relevant["dependency-groups"] = groups
    relevant = {**relevant, "tool": {"poetry": poetry}} if relevant else poetry
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()


def check(folder: Path, label: str) -> list[str]:
    """One line when the poetry.lock in `folder` does not fit the pyproject.toml next to it; no network."""
    wanted = content_hash(read_toml(folder / "pyproject.toml", "correct it"))
    lock = read_toml(folder / "poetry.lock", f"run: make lock, or restore it: git checkout {label}")
    metadata = lock.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("content-hash") != wanted:
        return [f"{label} does not match the pyproject.toml next to it: run make lock"]
    return []


def packages(text: str) -> dict[str, tuple[str, int | None]]:
    """Package → version and size (None: a poetry.lock states none) of a poetry.lock."""
    return {item["name"]: (item["version"], None) for item in tomllib.loads(text).get("package", [])}


def other_sources(text: str) -> list[str]:
    """One line for each package of a poetry.lock that comes from elsewhere than the default index."""
    found = [item for item in tomllib.loads(text).get("package", []) if "source" in item]
    return [f"{item['name']} comes from {http.public(str(item['source'].get('url')))}" for item in found]


def install(project: Project, say: Callable[[str], None]) -> tuple[str, Path]:
    """A Python and the folder with Poetry for it, installed by that Python's pip when it is not there yet.

    `pip install --target`, not a virtual environment: Debian's Python makes those only with a package of its own.
    Errors: FetchError when there is no pip, or pip cannot install Poetry.
    """
    python = pip_client.find_python()
    if python is None:
        raise FetchError("this host has no pip to install Poetry with", "apt-get install python3-pip")
    version = process.run([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).stdout.strip()
    folder = project.state / "poetry" / f"{POETRY}-python{version}"
    if not folder.is_dir():
        say(f"lock: installing Poetry {POETRY} into {folder}")
        making = folder.with_name(f"{folder.name}.{os.getpid()}")
        words = ["install", "--quiet", "--disable-pip-version-check", "--no-warn-script-location", "--target"]
        try:
            environment = pip_client.environment(python)
            process.fetching([python, "-m", "pip", *words, str(making), f"poetry=={POETRY}"], env=environment)
            making.rename(folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return python, folder


def relock_argv(python: str, folder: Path) -> list[str]:
    """The call that solves the pyproject.toml in `folder` again and writes its poetry.lock."""
    return [python, str(RELOCK), "lock", "--regenerate", "--no-interaction", "--no-ansi", "--directory", str(folder)]


def refresh(project: Project, folder: Path, say: Callable[[str], None]) -> str:
    """The text of the new poetry.lock for the pyproject.toml in `folder`, which stays as it is.

    Errors: FetchError with Poetry's own words.
    """
    python, poetry = install(project, say)
    if other := pip_client.other_index(python):
        say(f"lock: pip's settings use {other}, but Poetry uses the default index")
    work = project.state / "tmp" / f"lock.{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        for name in ("pyproject.toml", "poetry.lock", "README.md"):
            if (folder / name).is_file():
                shutil.copyfile(folder / name, work / name)
        environment = {
            "PYTHONPATH": str(poetry),
            "POETRY_VIRTUALENVS_CREATE": "false",
            "POETRY_CACHE_DIR": str(project.state / "poetry" / "cache"),
            "POETRY_CONFIG_DIR": str(project.state / "poetry" / "config"),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        }
        unset = [word for name in sorted(os.environ) if name.startswith("POETRY_") for word in ("-u", name)]
        settings = [f"{name}={value}" for name, value in environment.items()]
        process.fetching(["env", *unset, *settings, *relock_argv(python, work)])
        text = (work / "poetry.lock").read_text(encoding="utf-8")
        for line in other_sources(text):
            say(f"lock: {line}")
        return text
    finally:
        shutil.rmtree(work, ignore_errors=True)
