"""Counts attempts without progress, and waits between them."""

import random
import threading
from dataclasses import dataclass

from leviathan.errors import ExitCode, LeviathanError, RegistryError
from leviathan.retry import parse_retry_after
from leviathan.terminal.output import Console

#: A registry that asks for a longer wait than this gets none: the command ends, and says so.
LONGEST_S = 600.0


@dataclass(frozen=True)
class Backoff:
    """Exponential waiting with full jitter: attempt n waits between half and all of min(cap, base · 2ⁿ) seconds."""

    base_s: float = 0.5
    cap_s: float = 30.0

    def delay(self, attempt: int, retry_after: str | None = None, *, dice: float | None = None) -> float:
        """Seconds before attempt `attempt` + 1 (the first is 0).

        Arguments: `retry_after`, the header (seconds or a date), is honoured up to ten minutes and gets jitter on top,
        so that many clients do not return at once; `dice` is a number from 0 to 1 instead of a random one.
        """
        dice = random.random() if dice is None else dice
        delay = min(self.cap_s, self.base_s * 2.0**attempt) * (0.5 + dice / 2)
        asked = parse_retry_after(retry_after)
        return delay if asked is None else min(asked, LONGEST_S) + dice * min(delay, 1.0)


class Stopped(LeviathanError):
    """The user asked to stop; what is uploaded stays and the next run goes on from there."""

    exit_code = ExitCode.INTERRUPTED

    def __init__(self) -> None:
        super().__init__(
            "stopped", why="what the registry has stays there", remedy="run the same command again to go on"
        )


class TransientError(Exception):
    """An attempt failed in a way that may pass; `retry_after` is what the registry asks to wait, if it does."""

    def __init__(self, reason: str, retry_after: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class Attempts:
    """How often one piece of work may fail in a row.

    Arguments: `what` and `where` name the work in errors; `limit`, failures in a row that are forgiven; `stop` ends
    waiting; `console` gets a line for each failure; `backoff` says how long to wait.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str,
        limit: int,
        stop: threading.Event,
        console: Console,
        backoff: Backoff | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.limit = limit
        self.failures = 0
        self._stop = stop
        self._console = console
        self._backoff = backoff if backoff is not None else Backoff()

    def progress(self) -> None:
        """Something new got through: the count starts again."""
        self.failures = 0

    def check(self) -> None:
        """Raise Stopped when the user asked for it."""
        if self._stop.is_set():
            raise Stopped

    def failed(self, reason: str, retry_after: str | None = None) -> None:
        """Note a failure and wait.

        Errors: RegistryError when it was one too many; Stopped when the user asks to stop.
        """
        asked_s = parse_retry_after(retry_after)
        if asked_s is not None and asked_s > LONGEST_S:
            raise RegistryError(
                f"cannot {self.what}",
                where=self.where,
                why=f"{reason}; it asks to wait for {asked_s:.0f} s",
                remedy="run it again then; what is uploaded stays",
            )
        if self.failures >= self.limit:
            raise RegistryError(
                f"cannot {self.what}",
                where=self.where,
                why=f"{reason}; {self.failures + 1} attempts in a row failed",
                remedy=f"see that the registry runs and is reachable: curl -i {self.where.split('/v2/')[0]}/v2/",
            )
        delay = self._backoff.delay(self.failures, retry_after)
        self.failures += 1
        self._console.say(f"{self.what}: {reason}; attempt {self.failures + 1} of {self.limit + 1} in {delay:.1f} s")
        if self._stop.wait(delay):
            raise Stopped
