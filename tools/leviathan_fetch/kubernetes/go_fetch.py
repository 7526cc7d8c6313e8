"""Bring what the Kubernetes programs are compiled from into the Nix store."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from leviathan_fetch import process, store
from leviathan_fetch.clients.deb822 import Binary
from leviathan_fetch.errors import FetchError
from leviathan_fetch.kubernetes import go as go_client
from leviathan_fetch.kubernetes.go_lock import GoLock, source_folder
from leviathan_fetch.kubernetes.tar import pack
from leviathan_fetch.options import Options
from leviathan_fetch.pipeline import digest
from leviathan_fetch.progress import size
from leviathan_fetch.project import Project
from leviathan_fetch.records import Record

TOOLCHAIN = "golang-"


def store_name(filename: str) -> str:
    """The name in the store of a file of a mirror: as nix/lib/artifact.nix has it."""
    return filename.rsplit("/", 1)[-1].replace("%3a", "-").replace(":", "-").replace("~", "-")


def fixed_path(sha256: str, name: str) -> str:
    """The store path of a file with that hash and name."""
    return process.run(["nix-store", "--print-fixed-path", "sha256", sha256, name]).stdout.strip()


def record(kind: str, name: str, item: Binary | GoLock, package: str) -> Record:
    """The artifact record of a Debian package or of the modules' tar."""
    suite, architecture = (item.suite, item.architecture) if isinstance(item, Binary) else ("", "")
    path = fixed_path(item.sha256, name)
    where = item.filename
    return Record(
        kind,
        name,
        item.sha256,
        path,
        package,
        item.version,
        where,
        item.size,
        architecture,
        suite,
        member="",
    )


def records(lock: GoLock) -> tuple[list[Record], Record]:
    """The records of the Debian packages, and the one of the modules' tar. Errors: FetchError without Nix."""
    store.need_nix()
    debs = [record("deb", store_name(item.filename), item, name) for name, item in sorted(lock.debs.items())]
    return debs, record("go", lock.filename, lock, "k8s.io/kubernetes")


def fetch(lock: GoLock, options: Options, project: Project, handle: int, say: Callable[[str], None]) -> int:
    """See to it that the store has everything; the number of artifacts that were added.

    `handle` is the lock that is held. Errors: FetchError; of kind ``proxy`` when no Go module proxy is in reach.
    """
    debs, modules = records(lock)
    missing = store.invalid([*debs, modules])
    wanted = [item for item in missing if item.kind == "deb"]
    if wanted:
        from leviathan_fetch.bring import bring  # noqa: PLC0415 - costs 0.1 s, and most fetches need nothing

        bring(wanted, options, project, handle, project.state / "downloads-kubernetes")
    if modules in missing:
        bring_modules(lock, modules, [Path(item.store) for item in debs], project, handle, say)
    store.keep([*debs, modules], project.state / "roots-kubernetes")
    return len(missing)


def bring_modules(
    lock: GoLock, wanted: Record, debs: Sequence[Path], project: Project, handle: int, say: Callable[[str], None]
) -> None:
    """Have Go bring the modules, pack them, compare the hash, add them to the store. Errors: FetchError."""
    state = project.state / "go"
    target = state / lock.filename
    make(target, client(debs, state / "toolchain", say), project, handle, say)
    got = digest(target)
    if got != lock.sha256:
        what = f"{lock.filename}: expected the hash {lock.sha256}, got {got} ({size(target.stat().st_size)})"
        raise FetchError(what, "this Go packs other files than the one that made the lock: use Go 1.24", "hash")
    path = store.add([target], False, project.state / "tmp")[0]
    if path != wanted.store:
        raise FetchError(f"{lock.filename}: expected the store path {wanted.store}, got {path}")
    shutil.rmtree(state)


def client(debs: Sequence[Path], folder: Path, say: Callable[[str], None]) -> str:
    """The host's Go client, or the one in `debs`, unpacked into `folder`. Errors: FetchError without both."""
    toolchain = [deb for deb in debs if TOOLCHAIN in deb.name]
    go = go_client.find_go() if toolchain else go_client.need_go()
    if go is None:
        say(f"fetch: this host has no Go {go_client.MINIMUM} or newer, so Debian's is used")
        go = go_client.unpack(toolchain, folder)
    return go


def make(target: Path, go: str, project: Project, handle: int, say: Callable[[str], None]) -> None:
    """Make the tar of modules at `target` with the client `go`. Errors: FetchError."""
    state = target.parent
    state.mkdir(parents=True, exist_ok=True)
    say("fetch: Go downloads the modules of Kubernetes")
    folder = go_client.vendor(go, source_folder(project), state, say, (handle,))
    pack(folder, "vendor", target)
