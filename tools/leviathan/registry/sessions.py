"""Uploads under way, kept on disk, so that a process that was killed goes on where it stood.

One folder for each registry and repository below $XDG_STATE_HOME/leviathan/uploads (else ~/.local/state), with one
small JSON file for each blob under way and a lock that lets one push at a time into the repository.
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
    """The folder for state: $XDG_STATE_HOME if absolute (the XDG specification asks that), else ~/.local/state."""
    given = environ.get("XDG_STATE_HOME", "")
    return Path(given) if given.startswith("/") else Path(environ.get("HOME", "/")) / ".local" / "state"


class Sessions:
    """The uploads of one repository: `home` from `state_home`, the registry's `host`, the `repository`."""

    def __init__(self, home: Path, host: str, repository: str) -> None:
        self.folder = home / "leviathan" / "uploads" / quote(host, safe="") / quote(repository, safe="")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise LeviathanError(
                "cannot keep the state of uploads",
                where=str(self.folder),
                why=error.strerror or str(error),
                remedy="set XDG_STATE_HOME to a folder that is writable",
            ) from None

    def load(self, blob: Blob) -> Session | None:
        """The upload of `blob` that an earlier run left, or None."""
        try:
            content = json.loads(self._file(blob).read_text(encoding="utf-8"))
            if content["size"] != blob.size:
                return None
            return Session(str(content["location"]), int(content["offset"]), int(content["min_chunk"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None  # none, or not ours: the upload starts anew

    def save(self, blob: Blob, session: Session) -> None:
        """Note where an upload stands."""
        content = {
            "size": blob.size,
            "location": session.location,
            "offset": session.offset,
            "min_chunk": session.min_chunk,
            "written": int(time.time()),
        }
        write_atomically(self._file(blob), json.dumps(content) + "\n", mode=0o600)

    def drop(self, blob: Blob) -> None:
        """Forget an upload."""
        self._file(blob).unlink(missing_ok=True)

    @contextmanager
    def locked(self, attempts: Attempts, console: Console, poll_s: float = 0.1) -> Iterator[None]:
        """Hold the repository's lock; while another push has it, wait, and say so, again and again.

        Errors: Stopped when the user asks to stop meanwhile.
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
    """Take the lock, if nobody has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
