"""Chooses the users of the front and the worker when the launcher is root, which it must be to mount.

The front is open to the network, so it should run without privileges: an attacker who takes it over gets neither the
node's disks in /dev nor capabilities. The front and the worker switch to two different users of one group, if other
users may read all files that they need. Otherwise they stay root, and the log says which file is in the way.
"""

import os
import stat
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import leviathan_engine
from leviathan_engine.launcher.state_dir import State
from leviathan_engine.machine.privileges import GROUP

#: The worker's user is the one of the unprivileged manifest.
ENGINE, FRONT = 65532, 65533
# Variables that name files for the front to read.
FRONT_FILES = ("LEVIATHAN_API_KEY_FILE", "LEVIATHAN_TLS_CERT_FILE", "LEVIATHAN_TLS_KEY_FILE")
DEVICES = "dev/nvidia*"
OPEN_MODE = 0o006


def front_obstacle(state: State, environ: Mapping[str, str], config: Path | None) -> str:
    """Says why the front cannot switch its user, "" if it can. `config` is the user's Hugging Face folder."""
    if os.geteuid() != 0:
        return "the launcher is not root"
    named = [Path(environ[name]) for name in FRONT_FILES if environ.get(name)]
    return _first(closed(path) for path in (*_programs(), state.root.parent, *named, *([config] if config else [])))


def engine_obstacle(state: State, files: Iterable[Path]) -> str:
    """Says why the worker cannot switch its user, "" if it can. `files` are all files that it reads."""
    if os.geteuid() != 0:
        return "the launcher is not root"
    devices = [path for path in Path("/").glob(DEVICES) if stat.S_ISCHR(path.stat().st_mode)]
    shut = (
        f"other users may not read and write {path}" for path in devices if path.stat().st_mode & OPEN_MODE != OPEN_MODE
    )
    return _first((*shut, *(closed(path) for path in (*_programs(), state.root.parent, *files))))


def closed(path: Path) -> str:
    """Says why users other than the owner cannot read `path`, "" if they can."""
    real = Path(os.path.realpath(path))
    try:
        for folder in reversed(real.parents):
            if not folder.stat().st_mode & stat.S_IXOTH:
                return f"other users may not enter {folder}"
        mode = real.stat().st_mode
    except OSError as err:
        return f"{real}: {err.strerror}"
    wanted = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(mode) else 0)
    return "" if mode & wanted == wanted else f"other users may not read {real}"


def open_state(state: State) -> None:
    """Sets the modes of the state folder: the front can create its socket, the worker can enter the folder."""
    os.umask(0o022)
    state.root.chmod(0o711)
    state.run.chmod(0o750)
    os.chown(state.run, FRONT, GROUP)


def give_to_engine(state: State, kept: Path | None) -> None:
    """Makes the worker's user the owner of the files and folders that it writes; `kept` is the folder of --kv_dir."""
    for file in (state.reason, state.threads):
        file.touch()
        os.chown(file, ENGINE, GROUP)
    folders = [state.home, state.root / "tmp"]
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        folders.append(kept)
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, ENGINE, GROUP, follow_symlinks=False)


def _programs() -> tuple[Path, ...]:
    return Path(sys.executable), Path(leviathan_engine.__file__)


def _first(texts: Iterable[str]) -> str:
    return next(filter(None, texts), "")
