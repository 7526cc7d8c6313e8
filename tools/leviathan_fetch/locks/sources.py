"""The lock of source archives: which sdist of which release, in `nix/locks/sources.json`.

The file is its own root: package and version are written by people, the rest by `lock sources`.
"""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

from leviathan_fetch import jsonfile
from leviathan_fetch.clients.pip_client import Answer, PipWorker, Task
from leviathan_fetch.errors import FetchError
from leviathan_fetch.project import Project

ROOTS = ("package", "version")
FOUND = ("filename", "sha256", "size")


def read(path: Path) -> dict[str, dict[str, Any]]:
    """Name → entry. Errors: FetchError naming the entry and the key that is missing, unknown or of the wrong type."""
    value = jsonfile.read_object(path, f"restore it with: git checkout {path}")
    for name, entry in value.items():
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ROOTS):
            raise FetchError(f"{path}: {name} needs package and version as strings", f"correct {path}")
        unknown = sorted(entry.keys() - {*ROOTS, *FOUND})
        if unknown:
            raise FetchError(f"{path}: {name} has unknown key {', '.join(unknown)}", f"correct {path}")
        for key in entry.keys() & {*FOUND}:
            jsonfile.field(entry, key, int if key == "size" else str, f"{path}: {name}", f"correct {path}")
    return value


def refresh(project: Project) -> dict[str, Any]:
    """The new lock: each entry's file as the host's pip finds it, hashed here. Errors: FetchError when it fails."""
    old = read(project.sources_lock)
    project.downloads.mkdir(parents=True, exist_ok=True)
    new = {}
    with tempfile.TemporaryDirectory(dir=project.downloads) as folder, PipWorker([], threads=1) as worker:
        for name, entry in sorted(old.items()):
            target = Path(folder) / name
            worker.submit(Task(entry["package"], entry["version"], "", "", str(target)))
            answer = worker.receive()
            if not isinstance(answer, Answer):
                raise answer[1]
            with target.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if answer.sha256 and digest != answer.sha256:
                text = f"{answer.filename}: expected the hash {answer.sha256} from the index, got {digest}"
                raise FetchError(text, "run it again", "hash")
            new[name] = {key: entry[key] for key in ROOTS} | {
                "filename": answer.filename,
                "sha256": digest,
                "size": answer.size,
            }
    return new


def check(project: Project) -> list[str]:
    """One line for each entry whose file is not of the version that it asks for; no network."""
    lines = []
    for name, entry in sorted(read(project.sources_lock).items()):
        stem = str(entry.get("filename", "")).removesuffix(".tar.gz").removesuffix(".zip").lower().replace("-", "_")
        wanted = f"{entry['package']}_{entry['version']}".lower().replace("-", "_")
        if stem != wanted or len(str(entry.get("sha256", ""))) != 64:
            lines.append(f"{project.sources_lock.name}: {name} does not lock {entry['version']}: run make lock")
    return lines
