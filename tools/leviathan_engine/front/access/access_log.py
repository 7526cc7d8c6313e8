"""The access log: one line a request, at a bounded rate, written by a thread, so that a slow reader of the log never
holds up the event loop.

What exceeds the rate, or what the thread cannot write in time, is dropped and counted; the next line says how many.
"""

import json
import queue
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from .rate import Bucket

LINES_A_SECOND = 200
# Lines that wait for the thread, at most some 300 bytes each.
HELD = 2000
CLOSE_SECONDS = 0.5
Write = Callable[[str], object]


class Style(Enum):
    """How a line looks; `off` writes none."""

    TEXT = "text"
    JSON = "json"
    OFF = "off"


class AccessLog:
    """Takes the facts of a request, never blocks, and never raises."""

    def __init__(self, style: Style, write: Write, clock: Callable[[], float] = time.monotonic) -> None:
        """`write` takes a whole line with its end, and may block; `clock` gives seconds."""
        self._style = style
        self._write = write
        self._rate = Bucket(LINES_A_SECOND, 1, clock)
        self._lines: queue.Queue[str | None] = queue.Queue(HELD)
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
        try:
            self._lines.put_nowait(line(entry, self._style))
            self._dropped = 0
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Writes what waits, but not for longer than CLOSE_SECONDS."""
        if not self._thread.is_alive():
            return
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while (text := self._lines.get()) is not None:
            try:
                self._write(text)
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
