"""Saves the state of uploads on disk, so that the next process can resume after a kill.

Each registry and repository has a folder below $XDG_STATE_HOME/leviathan/uploads (else ~/.local/state), with a small
JSON file for each blob in progress, and a lock that allows one push per repository at a time.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from leviathan.errors import LeviathanError
from leviathan.registry.attempts import Attempts
from leviathan.registry.layout import Blob
from leviathan.registry.responses import Session
from leviathan.terminal.output import Console, write_atomically
from leviathan.terminal.progress import Waiting


def state_home(environ: Mapping[str, str]) -> Path:
    """The folder for state: $XDG_STATE_HOME if it is absolute, as XDG requires, else ~/.local/state."""
    given = environ.get("XDG_STATE_HOME", "")
    return Path(given) if given.startswith("/") else Path(environ.get("HOME", "/")) / ".local" / "state"


class Sessions:
    """The saved uploads of a repository. Arguments: `home`, from `state_home`; the registry's `host`; `repository`."""

    def __init__(self, home: Path, host: str, repository: str) -> None:
        self.folder = home / "leviathan" / "uploads" / quote(host, safe="") / quote(repository, safe="")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise LeviathanError(
                "cannot create the folder for the state of uploads",
                where=str(self.folder),
                why=error.strerror or str(error),
                remedy="set XDG_STATE_HOME to a writable folder",
            ) from None

    def load(self, blob: Blob) -> Session | None:
        """The upload of `blob` that an earlier run saved, or None."""
        try:
            content = json.loads(self._file(blob).read_text(encoding="utf-8"))
            if content["size"] != blob.size:
                return None
            return Session(str(content["location"]), int(content["offset"]), int(content["min_chunk"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None  # missing or invalid: the upload starts from the beginning

    def save(self, blob: Blob, session: Session) -> None:
        """Save the state of an upload."""
        content = {
            "size": blob.size,
            "location": session.location,
            "offset": session.offset,
            "min_chunk": session.min_chunk,
            "written": int(time.time()),
        }
        write_atomically(self._file(blob), json.dumps(content) + "\n", mode=0o600)

    def drop(self, blob: Blob) -> None:
        """Delete the state of an upload."""
        self._file(blob).unlink(missing_ok=True)

    @contextmanager
    def locked(self, attempts: Attempts, console: Console, poll_s: float = 0.1) -> Iterator[None]:
        """Hold the repository's lock. While another push holds it, wait, and report that repeatedly.

        Errors: Stopped if the user asks to stop while waiting.
        """
        handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            attempts.check()
            if not _taken(handle):
                what = "waiting for another push to this repository"
                console.say(f"{what} (lock: {self.folder / 'lock'})")
                with Waiting(console, what):
                    while not _taken(handle):
                        time.sleep(poll_s)
                        attempts.check()
            yield
        finally:
            os.close(handle)

    def _file(self, blob: Blob) -> Path:
        return self.folder / f"{blob.digest.removeprefix('sha256:')}.json"


def _taken(handle: int) -> bool:
    """Try to take the lock; whether that succeeded."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
