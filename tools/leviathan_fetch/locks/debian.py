"""The lock of the Debian packages: apt's own solver turns the roots into `nix/locks/debian.json`."""

import hashlib
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from leviathan_fetch import jsonfile, seed, store
from leviathan_fetch.clients import apt, apt_download
from leviathan_fetch.clients import deb822 as packages_list
from leviathan_fetch.clients.deb822 import Binary
from leviathan_fetch.errors import FetchError
from leviathan_fetch.project import Project

SEED_MEMBER = "bin/busybox"


@dataclass(frozen=True)
class Roots:
    """What people ask for: suites, architecture, group → packages, and the package that holds the seed."""

    suites: tuple[str, ...]
    architecture: str
    groups: dict[str, tuple[str, ...]]
    seed: str
    sha256: str


def read_roots(path: Path) -> Roots:
    """The roots in `path`. Errors: FetchError naming the key that is missing, unknown or of the wrong type."""
    remedy = f"correct {path}"
    value = jsonfile.read_object(path, remedy)
    wanted = {"suites", "architecture", "groups", "seed"}
    for what, keys in (("unknown", value.keys() - wanted), ("no", wanted - value.keys())):
        if keys:
            raise FetchError(f"{path} has {what} key {', '.join(sorted(keys))}", remedy)
    groups = value["groups"]
    if not isinstance(groups, dict):
        raise FetchError(f"{path}: groups: expected an object of lists, got a {type(groups).__name__}", remedy)
    for key, names in {"suites": value["suites"], **groups}.items():
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise FetchError(f"{path}: {key}: expected a list of names", remedy)
    for key in ("architecture", "seed"):
        if not isinstance(value[key], str) or not value[key]:
            got = "empty" if value[key] == "" else f"a {type(value[key]).__name__}"
            raise FetchError(f"{path}: {key}: expected a name, got {got}", remedy)
    return Roots(
        tuple(value["suites"]),
        value["architecture"],
        {name: tuple(packages) for name, packages in groups.items()},
        value["seed"],
        hashlib.sha256(path.read_bytes()).hexdigest(),
    )


def refresh(project: Project) -> dict[str, Any]:
    """The new lock, from what the host's mirrors offer now. Errors: FetchError when apt or a mirror fails."""
    if not apt.available():
        raise FetchError("this host has no apt, whose solver makes the Debian lock", "run it on Debian 12 or 13")
    roots = read_roots(project.debian_roots)
    private = apt.prepare(project.state / "apt", roots.suites, roots.architecture)
    private.update()
    solved = {name: private.solve(packages) for name, packages in sorted(roots.groups.items())}
    seeds = [item for item in private.solve([roots.seed]) if item[0] == roots.seed]
    wanted = {item for items in [*solved.values(), seeds] for item in items}
    lists = ((suite, private.read_list(file)) for suite, file in private.package_lists())
    found = packages_list.find(lists, wanted)
    seed_record = found[roots.seed]
    groups = {name: [package for package, _ in items] for name, items in solved.items()}
    used = {package for packages in groups.values() for package in packages}
    return {
        "suites": list(roots.suites),
        "architecture": roots.architecture,
        "roots_sha256": roots.sha256,
        "seed": {**without(seed_record, "architecture"), **seed_of(project, seed_record, private)},
        "groups": groups,
        "packages": {name: without(found[name], "package") for name in sorted(used)},
    }


def without(binary: Binary, *names: str) -> dict[str, Any]:
    """The record as a dictionary, less `names`."""
    return {key: value for key, value in asdict(binary).items() if key not in names}


def seed_of(project: Project, binary: Binary, private: apt.Apt) -> dict[str, str]:
    """The member and the NAR hash of the seed, computed from its package, which is downloaded for that."""
    project.downloads.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=project.downloads) as name:
        deb = Path(name) / "seed.deb"
        wanted = apt_download.Wanted(binary.suite, binary.filename, binary.sha256, deb)
        for error in apt_download.download(private, [wanted]).values():
            raise error
        got = hashlib.sha256(deb.read_bytes()).hexdigest()
        if got != binary.sha256:
            text = f"{binary.filename}: expected the hash {binary.sha256}, got {got}"
            raise FetchError(text, "run it again", "hash")
        folder = seed.unpack(deb, SEED_MEMBER, Path(name) / "seed")
        return {"member": SEED_MEMBER, "narHash": store.nar_hash(folder)}


def check(project: Project) -> list[str]:
    """One line for each reason why the lock does not fit the roots; no network.

    Errors: FetchError on a broken file, naming it and the key whose value is of the wrong type.
    """
    roots = read_roots(project.debian_roots)
    path, remedy = str(project.debian_lock), "run make lock"
    lock = jsonfile.read_object(project.debian_lock, remedy)
    packages = jsonfile.field(lock, "packages", dict, path, remedy)
    groups = jsonfile.field(lock, "groups", dict, path, remedy)
    lines = []
    if lock.get("roots_sha256") != roots.sha256:
        lines.append(f"{project.debian_lock.name} is older than {project.debian_roots.name}: run make lock")
    for name in sorted(groups):
        members = jsonfile.field(groups, name, list, f"{path}: groups", remedy)
        lost = [str(member) for member in members if not isinstance(member, str) or member not in packages]
        if lost:
            lines.append(
                f"{project.debian_lock.name}: group {name} has {', '.join(lost)}, which is not locked: run make lock"
            )
    return lines
