"""The Nix store, through `nix-store` and `nix`."""

import base64
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from leviathan_fetch import process
from leviathan_fetch.errors import FetchError
from leviathan_fetch.records import Record

NO_NIX = "apt-get install nix-bin, or run make setup"


def eval_argv(attribute: str) -> list[str]:
    """The call that evaluates an attribute of the flake in the current folder."""
    return ["nix", "--extra-experimental-features", "nix-command flakes", "eval", "--json", f".#{attribute}"]


def invalid_argv(paths: Sequence[str]) -> list[str]:
    """The call that prints which of `paths` are not in the store."""
    return ["nix-store", "--check-validity", "--print-invalid", *paths]


def add_argv(files: Sequence[Path], recursive: bool) -> list[str]:
    """The call that adds `files` under their own names: by their content's hash, or (`recursive`) by their NAR's."""
    return ["nix-store", "--add-fixed", *(["--recursive"] if recursive else []), "sha256", *map(str, files)]


def root_argv(link: Path, paths: Sequence[str]) -> list[str]:
    """The call that keeps `paths` from the garbage collector through links named `link`, `link`-2 …"""
    return ["nix-store", "--realise", "--add-root", str(link), "--indirect", *paths]


def hash_argv(folder: Path) -> list[str]:
    """The call that prints the SHA-256 of a folder's Nix archive in hexadecimal."""
    return ["nix-hash", "--type", "sha256", str(folder)]


def nar_hash(folder: Path) -> str:
    """The hash of `folder` as a derivation's `outputHash` has it: ``sha256-`` and base64. Errors: FetchError."""
    need_nix()
    digest = bytes.fromhex(process.run(hash_argv(folder)).stdout)
    return "sha256-" + base64.b64encode(digest).decode()


def need_nix() -> None:
    """Errors: FetchError when this machine has no Nix."""
    if not process.available("nix-store"):
        raise FetchError("this host has no Nix (nix-store is not on PATH)", NO_NIX)


def evaluate(attribute: str, root: Path) -> str:
    """The flake's attribute as JSON text. Errors: FetchError with Nix's own words."""
    need_nix()
    return process.run(eval_argv(attribute), cwd=str(root)).stdout


def invalid(records: Sequence[Record]) -> list[Record]:
    """The records whose store path is not in the store yet, each store path once."""
    need_nix()
    by_path = {record.store: record for record in records}
    if not by_path:
        return []
    printed = process.run(invalid_argv(list(by_path))).stdout.split()
    return [by_path[path] for path in printed]


def add(files: Sequence[Path], recursive: bool, temporary: Path) -> list[str]:
    """The store paths of `files`, in their order; `temporary` is a folder on a real disk that Nix may fill.

    Errors: FetchError with Nix's own words.
    """
    if not files:
        return []
    temporary.mkdir(parents=True, exist_ok=True)
    done = process.run(add_argv(files, recursive), env={"TMPDIR": str(temporary)}, check=False)
    if done.status != 0:
        full = "No space left" in done.stderr
        raise FetchError(
            f"nix-store cannot add {', '.join(file.name for file in files[:3])}: {done.tail(1)}",
            "free some disk space and run it again" if full else "nix-store --verify may say more",
            "disk" if full else "other",
        )
    return done.stdout.split()


def stamp_of(paths: Sequence[str]) -> str:
    """What the file ``.stamp`` next to the links of `paths` holds once they are all there."""
    return hashlib.sha256("\n".join(paths).encode()).hexdigest()


def kept(records: Sequence[Record], folder: Path) -> bool:
    """Whether `folder` already has a link for every record's store path, and no other."""
    paths = sorted({record.store for record in records})
    stamp = folder / ".stamp"
    return not paths or (stamp.is_file() and stamp.read_text(encoding="utf-8") == stamp_of(paths))


def keep(records: Sequence[Record], folder: Path) -> None:
    """Make every record's store path a root of the garbage collector, by links in `folder`; old ones go.

    To be called by one process at a time, under the lock of `exclusive`. The stamp goes first and comes last, so that
    what is interrupted here is repeated by the next fetch.
    """
    if kept(records, folder):
        return
    paths = sorted({record.store for record in records})
    stamp = folder / ".stamp"
    folder.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    for old in folder.iterdir():
        old.unlink()
    process.run(root_argv(folder / "a", paths))
    stamp.write_text(stamp_of(paths), encoding="utf-8")


def free_bytes(folder: Path) -> int:
    """Bytes that this user can still write where `folder` (see `nearest`) lies."""
    state = os.statvfs(nearest(folder))
    return state.f_bavail * state.f_frsize


def nearest(folder: Path) -> Path:
    """`folder`, or the nearest folder above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
