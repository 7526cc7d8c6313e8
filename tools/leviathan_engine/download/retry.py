"""How often an attempt is repeated, and how long is waited between two."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from .errors import DownloadError, TransientError

T = TypeVar("T")


@dataclass(frozen=True)
class Retry:
    """`attempts` in a row without a new byte; between two, `first_s` doubled each time up to `longest_s`, in seconds.

    `say` gets a line for each failed attempt; `stop` ends the waiting.
    """

    attempts: int = 30
    first_s: float = 1.0
    longest_s: float = 60.0
    say: Callable[[str], None] = print
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, work: Callable[[], T]) -> T:
        """What `work` returns, in the end. Errors: DownloadError when every attempt has failed."""
        failed = 0
        while True:
            try:
                return work()
            except TransientError as error:
                failed += 1
                self.wait(failed, error)

    def wait(self, failed: int, error: TransientError) -> None:
        """Wait after the attempt number `failed` in a row. Errors: DownloadError when there were enough."""
        if failed >= self.attempts:
            raise DownloadError(
                f"{failed} attempts in a row brought no byte; the last one: {error}",
                "check the network and the proxies, then start the download again: it resumes",
            )
        seconds = max(error.after_s, min(self.longest_s, self.first_s * 2 ** (failed - 1)) * random.uniform(0.7, 1.0))
        self.say(f"attempt {failed} of {self.attempts} failed, the next in {seconds:.1f} s: {error}")
        if self.stop.wait(seconds):
            raise DownloadError("stopped")
