"""What can go wrong in a download: for good, for the moment, or because the source is not what it was."""

from leviathan_engine.errors import EngineError


class DownloadError(EngineError):
    """The download cannot go further; the message says why, the remedy what to change."""


class TransientError(Exception):
    """The attempt failed and may be repeated; `after_s` is how long the server wants to be left alone, or 0."""

    def __init__(self, why: str, after_s: float = 0.0) -> None:
        super().__init__(why)
        self.after_s = after_s


class SourceChanged(Exception):
    """A file on the server is not the one that was listed: another size, or another version."""
