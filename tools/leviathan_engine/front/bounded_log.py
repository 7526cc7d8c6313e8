"""The front's log: a bounded number of lines a second, written by a thread, so that the loop never waits for stderr."""

import logging
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

# Of each logger; what is more is counted and said in one line.
LINES_PER_SECOND = 50
# Lines that may wait for a reader of stderr that stands still.
WAITING_LINES = 1000


class BoundedLog(logging.Handler):
    """A handler that drops what is above its bounds. `close` writes what waits, for at most a second."""

    def __init__(
        self,
        stream: TextIO | None = None,
        most: int = LINES_PER_SECOND,
        waiting: int = WAITING_LINES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(levelname)s: %(name)s: %(message)s"))
        self._stream = stream or sys.stderr
        self._most = most
        self._clock = clock
        self._second = 0
        self._count: dict[str, int] = {}
        self._dropped = 0
        self._queue: queue.Queue[str | None] = queue.Queue(waiting)
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a record; never waits."""
        second = int(self._clock())
        if second != self._second:
            self._second = second
            self._count.clear()
            self._say_dropped()
        count = self._count.get(record.name, 0)
        if count >= self._most:
            self._dropped += 1
            return
        text = self.format(record)
        self._count[record.name] = count + 1 + text.count("\n")
        self._put(text)

    def close(self) -> None:
        """Ends the thread."""
        self._say_dropped()
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(1)
        super().close()

    def _say_dropped(self) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._put(f"WARNING: {dropped} more messages were left out")

    def _put(self, text: str) -> None:
        try:
            self._queue.put_nowait(text)
        except queue.Full:
            self._dropped += 1

    def _write(self) -> None:
        while (text := self._queue.get()) is not None:
            try:
                self._stream.write(text + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                return  # nobody reads any more


def install(level: int = logging.WARNING) -> BoundedLog:
    """Sends every logger's records from `level` on through one bounded handler."""
    handler = BoundedLog()
    logging.basicConfig(level=level, handlers=[handler], force=True)
    return handler
