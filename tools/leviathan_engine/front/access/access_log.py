"""The access log: one line a request, at a bounded rate, written by a thread, so that a slow reader of the log never
holds up the event loop.

What exceeds the rate, or what the thread cannot write in time, is dropped and counted; the next line says how many.
Lines that come soon after each other are written together: to wake the thread for each would cost a request more than
its line does.
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
# Lines that wait for the thread, at most some 300 bytes each.
HELD = 2000
CLOSE_SECONDS = 0.5
GATHER_SECONDS = 0.05
# Lines of one write: some 10 KB, so that a reader who stands still costs few of them.
TOGETHER = 32
Write = Callable[[str], object]


class Style(Enum):
    """How a line looks; `off` writes none."""

    TEXT = "text"
    JSON = "json"
    OFF = "off"


class AccessLog:
    """Takes the facts of a request, never blocks, and never raises."""

    def __init__(self, style: Style, write: Write, clock: Callable[[], float] = time.monotonic) -> None:
        """`write` takes whole lines with their ends, and may block; `clock` gives seconds."""
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
        """One request."""
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
        """Writes what waits, but not for longer than CLOSE_SECONDS."""
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
            except OSError:  # the log's reader has gone; requests are answered all the same
                self._dropped += 1


def line(entry: Mapping[str, Any], style: Style) -> str:
    """One line: a JSON object, or the time, the request, and `name=value` for the rest; printable ASCII."""
    if style is Style.JSON:
        return json.dumps(entry, separators=(",", ":")) + "\n"
    first = ("time", "client", "method", "path", "status")
    head = [_plain(entry.get(name, "-")) for name in first]
    return " ".join([*head, *(f"{name}={_plain(value)}" for name, value in entry.items() if name not in first)]) + "\n"


def _plain(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if text.isascii() and text.isprintable() and text and " " not in text else json.dumps(text)
