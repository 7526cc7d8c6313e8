"""The retry policy: counts failed attempts in a row, and waits between them."""

import random
import threading
from dataclasses import dataclass

from leviathan.errors import ExitCode, LeviathanError, RegistryError
from leviathan.retry import parse_retry_after
from leviathan.terminal.output import Console

#: If the registry asks to wait longer than this, the command fails instead, and reports it.
LONGEST_S = 600.0


@dataclass(frozen=True)
class Backoff:
    """Exponential backoff with jitter: after attempt n, between half and all of min(cap, base · 2ⁿ) seconds."""

    base_s: float = 0.5
    cap_s: float = 30.0

    def delay(self, attempt: int, retry_after: str | None = None, *, dice: float | None = None) -> float:
        """Seconds before attempt `attempt` + 1 (the first is 0).

        Arguments: `retry_after`, the header (seconds or a date), honoured up to ten minutes, plus jitter, so that many
        clients do not retry at the same moment; `dice`, a number from 0 to 1 instead of a random one.
        """
        dice = random.random() if dice is None else dice
        delay = min(self.cap_s, self.base_s * 2.0**attempt) * (0.5 + dice / 2)
        asked = parse_retry_after(retry_after)
        return delay if asked is None else min(asked, LONGEST_S) + dice * min(delay, 1.0)


class Stopped(LeviathanError):
    """The user asked to stop. Uploaded bytes are kept, and the next run resumes."""

    exit_code = ExitCode.INTERRUPTED

    def __init__(self) -> None:
        super().__init__(
            "stopped", why="the registry keeps what was uploaded", remedy="run the same command again to resume"
        )


class TransientError(Exception):
    """An attempt failed, but may succeed later.

    Arguments: `retry_after`, the registry's Retry-After header, if any; `refused`, whether nothing listens there.
    """

    def __init__(self, reason: str, retry_after: str | None = None, *, refused: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        self.refused = refused


class Attempts:
    """Limits how often one operation may fail in a row.

    Arguments: `what` and `where` name the operation in errors; `limit`, the number of retries in a row; `refusals`, the
    number if nothing listens at the address, by default `limit`, because a registry may be starting; `stop` ends
    waiting; `console` gets a line for each failure; `backoff`, the delays.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str,
        limit: int,
        refusals: int | None = None,
        stop: threading.Event,
        console: Console,
        backoff: Backoff | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.limit = limit
        self.refusals = limit if refusals is None else min(limit, refusals)
        self.failures = 0
        self._stop = stop
        self._console = console
        self._backoff = backoff if backoff is not None else Backoff()

    def progress(self) -> None:
        """Reset the count, because there was progress."""
        self.failures = 0

    def check(self) -> None:
        """Raise Stopped if the user asked to stop."""
        if self._stop.is_set():
            raise Stopped

    def failed(self, reason: str, retry_after: str | None = None, *, refused: bool = False) -> None:
        """Count a failure and wait.

        Errors: RegistryError if the limit is exceeded; Stopped if the user asks to stop.
        """
        limit = self.refusals if refused else self.limit
        asked_s = parse_retry_after(retry_after)
        if asked_s is not None and asked_s > LONGEST_S:
            raise RegistryError(
                f"cannot {self.what}",
                where=self.where,
                why=f"{reason}; it asks to wait for {asked_s:.0f} s",
                remedy="run the command again after that; the registry keeps what was uploaded",
            )
        if self.failures >= limit:
            raise RegistryError(
                f"cannot {self.what}",
                where=self.where,
                why=f"{reason}; {self.failures + 1} attempts in a row failed",
                remedy=f"check that the registry runs and is reachable: curl -i {self.where.split('/v2/')[0]}/v2/",
            )
        delay = self._backoff.delay(self.failures, retry_after)
        self.failures += 1
        self._console.say(f"{self.what}: {reason}; attempt {self.failures + 1} of {limit + 1} in {delay:.1f} s")
        if self._stop.wait(delay):
            raise Stopped
