"""The command `lock`: refresh locks and say what changed, or say which do not fit their roots."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from leviathan_fetch import jsonfile
from leviathan_fetch.lockfile import exclusive
from leviathan_fetch.locks import debian as lock_debian
from leviathan_fetch.locks import poetry as lock_poetry
from leviathan_fetch.locks import sources as lock_sources
from leviathan_fetch.progress import size
from leviathan_fetch.project import Project

Versions = dict[str, tuple[str, int | None]]


@dataclass(frozen=True)
class Change:
    """A package that differs between two locks in version, size or groups; None where it is in one of them only."""

    lock: str
    package: str
    old: str | None
    new: str | None
    old_size: int | None
    new_size: int | None

    def line(self) -> str:
        """The change as a line for people: lock, package, old → new (version, size)."""
        old, new = (one(*item) for item in ((self.old, self.old_size), (self.new, self.new_size)))
        return f"{self.lock}: {self.package} {old} → {new}"


def one(version: str | None, count: int | None) -> str:
    """A version with its size where that is known, ``none`` for no version."""
    if version is None:
        return "none"
    return version if count is None else f"{version} ({size(count)})"


def changes(lock: str, old: Versions, new: Versions) -> list[Change]:
    """What differs between two states of a lock, by package name."""
    nothing = (None, None)
    return [
        Change(lock, name, before[0], after[0], before[1], after[1])
        for name in sorted(old.keys() | new.keys())
        if (before := old.get(name, nothing)) != (after := new.get(name, nothing))
    ]


def debian_versions(lock: dict[str, Any]) -> Versions:
    """Package → version and size of a debian.json; the seed as ``seed``."""
    found: Versions = {name: (item["version"], item["size"]) for name, item in lock.get("packages", {}).items()}
    if "seed" in lock:
        found["seed"] = (lock["seed"]["version"], lock["seed"]["size"])
    return found


def debian_groups(lock: dict[str, Any]) -> dict[str, str]:
    """Package → the groups of a debian.json that have it, such as ``build, image``."""
    groups = lock.get("groups", {})
    return {name: ", ".join(sorted(g for g in groups if name in groups[g])) for name in lock.get("packages", {})}


def regroupings(old: dict[str, str], new: dict[str, str]) -> list[Change]:
    """Packages that stay in the lock and change their groups."""
    return [
        Change("debian", f"{name} is in", old[name] or None, new[name] or None, None, None)
        for name in sorted(old.keys() & new.keys())
        if old[name] != new[name]
    ]


def source_versions(lock: dict[str, Any]) -> Versions:
    """Name → version and size of a sources.json; an entry without a file counts as absent."""
    return {name: (item["version"], item["size"]) for name, item in lock.items() if "size" in item}


def check(project: Project, names: Sequence[str]) -> list[str]:
    """One line for each reason why one of the locks `names` does not fit its roots; no network."""
    others = {"debian": lock_debian.check, "sources": lock_sources.check}
    found = []
    for name in names:
        if name in others:
            found += others[name](project)
        else:
            folder = project.poetry[name]
            found += lock_poetry.check(folder, str((folder / "poetry.lock").relative_to(project.root)))
    return found


def refresh(project: Project, names: Sequence[str], say: Callable[[str], None]) -> list[Change]:
    """Refresh the locks `names`; what changed. A lock is written when it is whole, so a failure leaves the old one.

    Errors: FetchError of the first lock that cannot be refreshed; those before it are written.
    """
    found = []
    with exclusive(project.state / "fetch.lock", say):
        for name in names:
            say(f"lock: refreshing {name}")
            if name == "debian":
                found += refresh_debian(project)
            elif name == "sources":
                old = source_versions(lock_sources.read(project.sources_lock))
                new = lock_sources.refresh(project)
                jsonfile.write(project.sources_lock, new)
                found += changes(name, old, source_versions(new))
            else:
                folder = project.poetry[name]
                file = folder / "poetry.lock"
                before = lock_poetry.packages(file.read_text(encoding="utf-8")) if file.is_file() else {}
                text = lock_poetry.refresh(project, folder, say)
                jsonfile.write_text(file, text)
                found += changes(name, before, lock_poetry.packages(text))
    return found


def refresh_debian(project: Project) -> list[Change]:
    """Refresh debian.json; what changed. A lock that does not parse is replaced: it is made from the roots alone."""
    try:
        before = json.loads(project.debian_lock.read_text(encoding="utf-8"))
        old, groups = debian_versions(before), debian_groups(before)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        old, groups = {}, {}
    new = lock_debian.refresh(project)
    jsonfile.write(project.debian_lock, new)
    return changes("debian", old, debian_versions(new)) + regroupings(groups, debian_groups(new))
