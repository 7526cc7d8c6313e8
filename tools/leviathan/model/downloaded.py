"""The result of waiting for the download."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from leviathan.errors import ExitCode, LeviathanError


class ModelError(LeviathanError):
    """The download failed, makes no progress or cannot be observed, or the files do not match the manifest."""

    exit_code = ExitCode.MODEL


class DownloadOutcome(Enum):
    """How the wait for the download ended."""

    ALREADY = "already done"
    WAITED = "done"
    ENDED = "pod succeeded"


@dataclass(frozen=True)
class Downloaded:
    """A finished download: `where` its pod is, seconds waited, lines read, number of reconnections.

    `unread`: why the log of a pod that has succeeded could not be read; empty if it was read.
    """

    how: DownloadOutcome
    where: str
    marker: str
    seconds: float
    lines: int
    reopened: int
    unread: str = ""

    def text(self) -> str:
        """The result in one line."""
        if self.how is DownloadOutcome.ENDED:
            left = f'"{self.marker}" is not in the rest of its log'
            return f"the pod {self.where} has succeeded ({self.unread or left})"
        said = f'"{self.marker}" is in the log of {self.where}'
        return f"already downloaded: {said}" if self.how is DownloadOutcome.ALREADY else f"downloaded: {said}"

    def data(self) -> dict[str, Any]:
        """The result for programs."""
        return {
            "how": self.how.value,
            "pod": self.where,
            "marker": self.marker,
            "seconds": round(self.seconds, 3),
            "lines": self.lines,
            "reopened": self.reopened,
            "log_unread": self.unread,
        }
