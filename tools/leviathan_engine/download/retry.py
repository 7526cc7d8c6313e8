"""The retry policy: the number of attempts, and the pauses between them."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from .errors import DownloadError, TransientError

T = TypeVar("T")


@dataclass(frozen=True)
class Retry:
    """Gives up after `attempts` in a row without a new byte; pauses `first_s` seconds, doubled up to `longest_s`.

    `say` gets a line for each failed attempt; `stop` ends a pause.
    """

    attempts: int = 30
    first_s: float = 1.0
    longest_s: float = 60.0
    say: Callable[[str], None] = print
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, work: Callable[[], T]) -> T:
        """Repeats `work` until it succeeds; returns its result. Errors: DownloadError if every attempt failed."""
        failed = 0
        while True:
            try:
                return work()
            except TransientError as error:
                failed += 1
                self.wait(failed, error)

    def wait(self, failed: int, error: TransientError) -> None:
        """Pauses after `failed` attempts in a row. Errors: DownloadError after the last attempt."""
        if failed >= self.attempts:
            raise DownloadError(
                f"{failed} attempts in a row got no new byte; the last one: {error}",
                "check the network and the proxy settings, then start the download again: it resumes",
            )
        seconds = max(error.after_s, min(self.longest_s, self.first_s * 2 ** (failed - 1)) * random.uniform(0.7, 1.0))
        self.say(f"attempt {failed} of {self.attempts} failed, next attempt in {seconds:.1f} s: {error}")
        if self.stop.wait(seconds):
            raise DownloadError("stopped")
