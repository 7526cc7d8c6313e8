"""The front's log: limits lines per second, and writes in a thread, so that the event loop never waits for stderr."""

import logging
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

# Messages per second of each logger; the others are counted, and one line reports their number.
LINES_PER_SECOND = 50
# Maximum number of lines that wait for a stalled reader of stderr.
WAITING_LINES = 1000


class BoundedLog(logging.Handler):
    """A handler that drops messages above its limits. `close` writes the waiting lines, for at most a second."""

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
        """Queues a record; never blocks."""
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
            self._put(f"WARNING: {dropped} more messages were dropped")

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
                return  # the reader of stderr has ended


def install(level: int = logging.WARNING) -> BoundedLog:
    """Makes all loggers write records of `level` or above through one bounded handler."""
    handler = BoundedLog()
    logging.basicConfig(level=level, handlers=[handler], force=True)
    return handler
