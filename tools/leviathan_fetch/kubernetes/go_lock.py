"""The lock of the Kubernetes programs: `nix/kubernetes/lock.json`.

It names Debian packages (the Go toolchain, etcd) and the tar of Go modules that `go mod vendor` makes of
nix/kubernetes/src. The file is its own root: `suite`, `architecture` and the names under `debs` are written by people,
the rest by `python3 -m leviathan_fetch.kubernetes lock`.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from leviathan_fetch import jsonfile
from leviathan_fetch.clients import apt
from leviathan_fetch.clients import deb822 as packages_list
from leviathan_fetch.clients.deb822 import Binary
from leviathan_fetch.errors import FetchError
from leviathan_fetch.project import Project

SOURCES = ("go.mod", "go.sum", "main.go", "device_plugin.go")
RELOCK = "PYTHONPATH=tools python3 -m leviathan_fetch.kubernetes lock"
ROOTS: dict[str, type] = {"suite": str, "architecture": str, "debs": dict}
MODULES = ("filename", "sha256", "size", "sources_sha256", "version")


@dataclass(frozen=True)
class GoLock:
    """The lock: the Debian packages by name, and the modules' tar: its name, hash, size in bytes, Kubernetes' version.

    `sources_sha256` is the hash of the sources that the tar was made from.
    """

    debs: dict[str, Binary]
    filename: str
    sha256: str
    size: int
    version: str
    sources_sha256: str


def source_folder(project: Project) -> Path:
    """Where go.mod, go.sum and the program lie."""
    return project.root / "nix" / "kubernetes" / "src"


def lock_file(project: Project) -> Path:
    """The lock."""
    return project.root / "nix" / "kubernetes" / "lock.json"


def sources_digest(folder: Path) -> str:
    """One sha256 over the sources, each by its name, its size and its bytes."""
    digest = hashlib.sha256()
    for name in SOURCES:
        content = (folder / name).read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def kubernetes_version(folder: Path) -> str:
    """The version of k8s.io/kubernetes that go.mod requires, without the v. Errors: FetchError when there is none."""
    found = re.search(r"^\s*k8s\.io/kubernetes v(\S+)", (folder / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise FetchError(f"{folder / 'go.mod'} does not require k8s.io/kubernetes", "restore it from the repository")
    return found[1]


def read_roots(path: Path) -> dict[str, Any]:
    """The lock's object, of which that part is checked which people write.

    Errors: FetchError naming the file and the key that is missing or of the wrong type.
    """
    remedy = f"restore it with: git checkout {path}"
    value = jsonfile.read_object(path, remedy)
    for key, kind in ROOTS.items():
        jsonfile.field(value, key, kind, str(path), remedy)
    return value


def binary(name: str, debs: dict[str, Any], where: str) -> Binary:
    """The record of the package `name` in `debs`, which is `where`. Errors: FetchError naming package and key."""
    entry = jsonfile.field(debs, name, dict, where, RELOCK)
    kinds = {item.name: item.type for item in fields(Binary) if item.name != "package"}
    for key in entry.keys() - kinds.keys():
        raise FetchError(f"{where}: {name} has unknown key {key}", RELOCK)
    for key, kind in kinds.items():
        jsonfile.field(entry, key, cast(type, kind), f"{where}: {name}", RELOCK)
    return Binary(package=name, **entry)


def read(project: Project) -> GoLock:
    """The lock, checked. Errors: FetchError naming the key that is missing or wrong, or that the lock is stale."""
    path = lock_file(project)
    value = read_roots(path)
    modules = jsonfile.field(value, "modules", dict, str(path), RELOCK)
    for key in MODULES:
        jsonfile.field(modules, key, int if key == "size" else str, f"{path}: modules", RELOCK)
    debs = {name: binary(name, value["debs"], f"{path}: debs") for name in value["debs"]}
    lock = GoLock(debs=debs, **{key: modules[key] for key in MODULES})
    if lock.sources_sha256 != sources_digest(source_folder(project)):
        raise FetchError(f"{path} does not match the sources in {source_folder(project)}", RELOCK)
    return lock


def locked_debs(project: Project, say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """The lock's Debian packages as the host's mirrors offer them now. Errors: FetchError when apt fails."""
    value = read_roots(lock_file(project))
    say("lock: reading Debian's package lists")
    private = apt.prepare(project.state / "apt-go", (value["suite"],), value["architecture"])
    private.update()
    names = sorted(value["debs"])
    wanted = {item for item in private.solve(names) if item[0] in names}
    lists = ((suite, private.read_list(file)) for suite, file in private.package_lists())
    found = packages_list.find(lists, wanted)
    return {name: {key: item for key, item in vars(found[name]).items() if key != "package"} for name in names}
