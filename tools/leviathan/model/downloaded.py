"""The result of waiting for the download."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from leviathan.errors import ExitCode, LeviathanError


class ModelError(LeviathanError):
    """The download failed, hangs or cannot be seen, or the files are not those of the manifest."""

    exit_code = ExitCode.MODEL


class DownloadOutcome(Enum):
    """How the gate came to be open."""

    ALREADY = "already done"
    WAITED = "done"
    ENDED = "pod succeeded"


@dataclass(frozen=True)
class Downloaded:
    """The download is done: `where` its pod is, seconds waited, lines read, how often the stream was opened again.

    `unread`: why nothing is known of the log of a pod that has succeeded, where the node did not give it.
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
            left = f'"{self.marker}" is not in what is left of its log'
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
