"""A pod's log as lines that each come once, whatever breaks between here and the container.

With `timestamps=true` every line begins with the time at which the node took it down (RFC 3339, nanoseconds). After a
break the log is asked for again from a second before the newest line (`sinceTime` counts whole seconds), and what was
there already is left out by time and text together: lines of stdout and stderr may stand a little out of order.
Source: Kubernetes API, PodLogOptions; the kubelet's `logs.go`.
"""

import re
from collections import Counter, deque
from datetime import UTC, datetime, timedelta

STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d) ?")
#: Seconds by which two lines may stand out of order.
SLACK_S = 1


class Stamped:
    """Remembers what was read, so that each line is given once."""

    def __init__(self) -> None:
        self.count = 0
        self._newest: datetime | None = None
        self._window: deque[tuple[datetime, str]] = deque()
        self._again: Counter[str] = Counter()
        self._partial = ""

    def since(self) -> str:
        """What `sinceTime` has to be for the next request; empty at the very beginning.

        Call it once before each request: what comes after is held against the lines of that time.
        """
        if self._newest is None:
            return ""
        start = self._newest - timedelta(seconds=SLACK_S)
        self._again = Counter(raw for when, raw in self._window if when >= start)
        return start.strftime("%Y-%m-%dT%H:%M:%SZ")

    def take(self, raw: str) -> str | None:
        """The text of a line as it came, or None when it has been given before."""
        if self._again[raw] > 0:
            self._again[raw] -= 1
            return None
        when, text = split(raw)
        if when is not None:
            self._newest = max(when, self._newest or when)
            self._window.append((when, raw))
            while self._window[0][0] < self._newest - timedelta(seconds=2 * SLACK_S):
                self._window.popleft()
        self._partial = ""
        self.count += 1
        return text

    def grows(self, rest: str) -> bool:
        """Whether a line that has not ended yet, as progress bars write them, is longer than it was."""
        if self._partial.startswith(rest):
            return False
        self._partial = rest
        return True


def split(raw: str) -> tuple[datetime | None, str]:
    """The time of a line, in whole seconds, and its text; the time is None where the line has none."""
    match = STAMP.match(raw)
    if match is None:
        return None, raw
    try:
        # A node that is not set to UTC writes its own time with its offset.
        when = datetime.fromisoformat(f"{match[1]}{match[2].replace('Z', '+00:00')}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None, raw
    return when, raw[match.end() :]
