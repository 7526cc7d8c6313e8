"""Where the KV cache of conversations is kept after it is evicted from the GPUs."""

import sys
from dataclasses import dataclass
from pathlib import Path

from leviathan_engine.errors import EngineError
from leviathan_operators.cache import ParkedPages
from leviathan_operators.cache.disk_shelf import DiskShelf


@dataclass(frozen=True)
class Kept:
    """Bytes of main memory, and of the folder `directory` (None: no folder); `version` identifies the model's files."""

    ram: int = 0
    directory: Path | None = None
    disk: int = 0
    version: bytes = b""

    def pages(self, page_bytes: int) -> ParkedPages:
        """Opens the store for pages of `page_bytes` bytes. Errors: EngineError if the folder cannot be used."""
        shelf = None
        if self.directory is not None:
            try:
                shelf = DiskShelf(self.directory, self.version, self.disk, note)
            except OSError as err:
                raise EngineError(
                    f"--kv_dir: cannot write to {self.directory}: {err.strerror}", "give a writable folder"
                ) from err
        return ParkedPages(self.ram // page_bytes, shelf)


#: Keeps nothing.
NOWHERE = Kept()


def note(text: str) -> None:
    """Writes one line to the log."""
    sys.stderr.write(f"leviathan: {text}\n")
    sys.stderr.flush()
