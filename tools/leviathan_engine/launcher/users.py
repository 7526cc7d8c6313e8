"""Which users the front and the engine become when the launcher is root, as it must be to mount.

The front answers whoever asks, so it is the first that should be nobody: then what breaks into it finds neither the
node's disks in /dev nor capabilities. Both become users of their own, in one group, where all that they read is open to
everybody; otherwise they stay root, and the log says what is in the way.
"""

import os
import stat
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import leviathan_engine
from leviathan_engine.launcher.state_dir import State
from leviathan_engine.machine.privileges import GROUP

#: The unprivileged manifest's user is the engine's here as well.
ENGINE, FRONT = 65532, 65533
# Files that the front reads, named by its settings.
FRONT_FILES = ("LEVIATHAN_API_KEY_FILE", "LEVIATHAN_TLS_CERT_FILE", "LEVIATHAN_TLS_KEY_FILE")
DEVICES = "dev/nvidia*"
OPEN_MODE = 0o006


def front_obstacle(state: State, environ: Mapping[str, str], config: Path | None) -> str:
    """Why the front cannot be a user of its own; "" when it can. `config` is the user's Hugging Face folder."""
    if os.geteuid() != 0:
        return "the launcher is not root"
    named = [Path(environ[name]) for name in FRONT_FILES if environ.get(name)]
    return _first(closed(path) for path in (*_programs(), state.root.parent, *named, *([config] if config else [])))


def engine_obstacle(state: State, files: Iterable[Path]) -> str:
    """Why the engine cannot be a user of its own; "" when it can. `files` are the model's, and what goes with them."""
    if os.geteuid() != 0:
        return "the launcher is not root"
    devices = [path for path in Path("/").glob(DEVICES) if stat.S_ISCHR(path.stat().st_mode)]
    shut = (f"{path} is not open to everybody" for path in devices if path.stat().st_mode & OPEN_MODE != OPEN_MODE)
    return _first((*shut, *(closed(path) for path in (*_programs(), state.root.parent, *files))))


def closed(path: Path) -> str:
    """What keeps a user who owns nothing from reading `path`; "" for nothing."""
    real = Path(os.path.realpath(path))
    try:
        for folder in reversed(real.parents):
            if not folder.stat().st_mode & stat.S_IXOTH:
                return f"{folder} is not open to everybody"
        mode = real.stat().st_mode
    except OSError as err:
        return f"{real}: {err.strerror}"
    wanted = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(mode) else 0)
    return "" if mode & wanted == wanted else f"{real} is not readable for everybody"


def open_state(state: State) -> None:
    """Lets the front make its socket, and the engine read what is made for it and write where it writes."""
    os.umask(0o022)
    state.root.chmod(0o711)
    state.run.chmod(0o750)
    os.chown(state.run, FRONT, GROUP)


def give_to_engine(state: State, kept: Path | None) -> None:
    """Makes the engine the owner of the folders that it writes; `kept` is the one of --kv_dir."""
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
