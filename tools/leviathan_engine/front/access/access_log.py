"""The access log: one line per request, at a bounded rate, written by a thread, so that a slow reader of the log does
not block the event loop.

Lines above the rate, and lines that the thread cannot write in time, are dropped and counted; the next line has the
count. Lines that follow each other quickly are written together, because waking the thread costs more than a line.
"""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from .rate import Bucket

LINES_A_SECOND = 200
# Maximum number of lines that wait for the thread, about 300 bytes each.
HELD = 2000
CLOSE_SECONDS = 0.5
GATHER_SECONDS = 0.05
# Lines per write: about 10 KB, so that a stalled reader costs few lines.
TOGETHER = 32
Write = Callable[[str], object]


class Style(Enum):
    """The format of a line; `off` writes none."""

    TEXT = "text"
    JSON = "json"
    OFF = "off"


class AccessLog:
    """Logs requests; never blocks and never raises."""

    def __init__(self, style: Style, write: Write, clock: Callable[[], float] = time.monotonic) -> None:
        """`write` writes complete lines with line ends, and may block; `clock` returns seconds."""
        self._style = style
        self._write = write
        self._rate = Bucket(LINES_A_SECOND, 1, clock)
        self._lines: deque[dict[str, Any]] = deque()
        self._news = threading.Event()
        self._closing = threading.Event()
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        if style is not Style.OFF:
            self._thread.start()

    def add(self, facts: Mapping[str, Any]) -> None:
        """Adds the line of one request."""
        if self._style is Style.OFF:
            return
        if not self._rate.take(1):
            self._dropped += 1
            return
        dropped: dict[str, Any] = {"dropped_lines": self._dropped} if self._dropped else {}
        entry = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **facts, **dropped}
        if len(self._lines) >= HELD:
            self._dropped += 1
            return
        self._lines.append(entry)
        self._dropped = 0
        if not self._news.is_set():
            self._news.set()

    def close(self) -> None:
        """Writes the waiting lines, for at most CLOSE_SECONDS."""
        if not self._thread.is_alive():
            return
        self._closing.set()
        self._news.set()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        ended = False
        while not ended:
            self._news.wait()
            ended = self._closing.wait(GATHER_SECONDS)
            self._news.clear()
            try:
                while self._lines:
                    entries = [self._lines.popleft() for _ in range(min(TOGETHER, len(self._lines)))]
                    self._write("".join(line(entry, self._style) for entry in entries))
            except OSError:  # the log's reader has ended; requests are still answered
                self._dropped += 1


def line(entry: Mapping[str, Any], style: Style) -> str:
    """Formats a line: a JSON object, or the time, the request, and `name=value` pairs; printable ASCII."""
    if style is Style.JSON:
        return json.dumps(entry, separators=(",", ":")) + "\n"
    first = ("time", "client", "method", "path", "status")
    head = [_plain(entry.get(name, "-")) for name in first]
    return " ".join([*head, *(f"{name}={_plain(value)}" for name, value in entry.items() if name not in first)]) + "\n"


def _plain(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if text.isascii() and text.isprintable() and text and " " not in text else json.dumps(text)
