"""The Kubernetes programs of the end-to-end test: `python3 -m leviathan_fetch.kubernetes fetch|lock|check`.

Apart from `leviathan_fetch fetch`, since only `make e2e` needs them, and a Go module proxy may be out of reach.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from leviathan_fetch import jsonfile
from leviathan_fetch.cli import answered, say
from leviathan_fetch.kubernetes import go as go_client
from leviathan_fetch.kubernetes import go_fetch, go_lock
from leviathan_fetch.lockfile import exclusive
from leviathan_fetch.options import Options
from leviathan_fetch.pipeline import digest
from leviathan_fetch.project import Project, find

OUT_OF_REACH = 3


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    top = argparse.ArgumentParser(
        prog="leviathan_fetch.kubernetes", description="Fetch or lock the sources of Kubernetes."
    )
    what = "fetch: into the Nix store; lock: refresh nix/kubernetes/lock.json; check: whether it fits its sources"
    top.add_argument("command", choices=("fetch", "lock", "check"), help=what)
    top.add_argument("--project", metavar="DIR", default=".", help="the checkout (default: around this folder)")
    top.add_argument("--debug", action="store_true", help="show every command and every traceback")
    return top


def options() -> Options:
    """How to fetch the Debian packages: with apt, or from the mirrors that the environment names."""
    mirror, security = (
        os.environ.get(f"LEVIATHAN_{name}") or None for name in ("DEBIAN_MIRROR", "DEBIAN_SECURITY_MIRROR")
    )
    return Options(None, 2, mirror, security, None)


def fetch(project: Project) -> int:
    """`fetch`: the exit status."""
    lock = go_lock.read(project)
    with exclusive(project.state / "fetch.lock", say) as handle:
        added = go_fetch.fetch(lock, options(), project, handle, say)
    total = len(lock.debs) + 1
    new = f"{added} of them new" if added else "nothing to fetch"
    print(f"fetch: {total} artifacts of Kubernetes {lock.version} in the store, {new}")  # noqa: T201
    return 0


def relock(project: Project) -> int:
    """`lock`: the exit status. The lock is written when it is whole."""
    path = go_lock.lock_file(project)
    source = go_lock.source_folder(project)
    go = go_client.need_go()
    with exclusive(project.state / "fetch.lock", say) as handle:
        value = go_lock.read_roots(path)
        modules = value.get("modules")
        old = modules if isinstance(modules, dict) else {}  # replaced in any case
        value["debs"] = go_lock.locked_debs(project, say)
        version = go_lock.kubernetes_version(source)
        target = project.state / "go" / f"kubernetes-modules-{version}.tar"
        go_fetch.make(target, go, project, handle, say)
        value["modules"] = {
            "filename": target.name,
            "sha256": digest(target),
            "size": target.stat().st_size,
            "sources_sha256": go_lock.sources_digest(source),
            "version": version,
        }
        jsonfile.write(path, value)
    same = old == value["modules"]
    print("lock: nothing has changed" if same else f"lock: kubernetes {old.get('version', 'none')} → {version}")  # noqa: T201
    return 0


def check(project: Project) -> int:
    """`check`: the exit status; no network."""
    go_lock.read(project)
    print("lock: nix/kubernetes/lock.json fits its sources")  # noqa: T201
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line: 0, 1 (an error, one line), 2 (usage), 3 (no Go module proxy in reach), 130 (Ctrl-C)."""
    given = parser().parse_args(arguments)
    work = {"fetch": fetch, "lock": relock, "check": check}[given.command]
    return answered(
        given,
        lambda: work(find(Path(given.project))),
        lambda error: OUT_OF_REACH if error.kind == "proxy" else 1,
    )


if __name__ == "__main__":
    sys.exit(main())
