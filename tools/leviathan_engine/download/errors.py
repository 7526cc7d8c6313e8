"""The errors of a download: permanent, transient, or a source that has changed."""

from leviathan_engine.errors import EngineError


class DownloadError(EngineError):
    """A permanent error; the message says why, the remedy what to change."""


class TransientError(Exception):
    """A failed attempt that may be repeated; `after_s` is the server's Retry-After in seconds, or 0."""

    def __init__(self, why: str, after_s: float = 0.0) -> None:
        super().__init__(why)
        self.after_s = after_s


class SourceChanged(Exception):
    """A file on the server has another size or version than in the file list."""
