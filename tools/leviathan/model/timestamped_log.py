"""Reads a pod's log so that each line is returned once, even if connections break.

With `timestamps=true`, every line begins with the time at which the node recorded it (RFC 3339, nanoseconds). After a
break, the log is requested again from one second before the newest line (`sinceTime` has a resolution of one second).
Lines that were already read are recognized by time and text, because lines of stdout and stderr may be slightly out of
order. Source: Kubernetes API, PodLogOptions; the kubelet's `logs.go`.
"""

import re
from collections import Counter, deque
from datetime import UTC, datetime, timedelta

STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:\d\d) ?")
#: Seconds by which two lines may be out of order.
SLACK_S = 1


class Stamped:
    """Remembers the lines that were read, so that each is returned once."""

    def __init__(self) -> None:
        self.count = 0
        self._newest: datetime | None = None
        self._window: deque[tuple[datetime, str]] = deque()
        self._again: Counter[str] = Counter()
        self._partial = ""

    def since(self) -> str:
        """The value of `sinceTime` for the next request; empty for the first one.

        Call it once before each request. The lines of the answer are then compared with the lines since that time.
        """
        if self._newest is None:
            return ""
        start = self._newest - timedelta(seconds=SLACK_S)
        self._again = Counter(raw for when, raw in self._window if when >= start)
        return start.strftime("%Y-%m-%dT%H:%M:%SZ")

    def take(self, raw: str) -> str | None:
        """The text of a raw line, or None if it was returned before."""
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
        """Whether a line without an end, as progress bars write them, has grown."""
        if self._partial.startswith(rest):
            return False
        self._partial = rest
        return True


def split(raw: str) -> tuple[datetime | None, str]:
    """The time of a line, rounded down to seconds, and its text; the time is None if the line has none."""
    match = STAMP.match(raw)
    if match is None:
        return None, raw
    try:
        # A node that is not set to UTC writes its local time with an offset.
        when = datetime.fromisoformat(f"{match[1]}{match[2].replace('Z', '+00:00')}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None, raw
    return when, raw[match.end() :]
