"""Writes the progress lines of a download, in the form that `leviathan model` parses."""

import threading
import time
from collections.abc import Callable


class Progress:
    """Counts bytes, and reports the progress.

    Arguments: `total` bytes of `files` files, of which `before` existed already; `beat_s`, seconds between two lines.
    """

    def __init__(self, total: int, files: int, before: int, beat_s: float, say: Callable[[str], None]) -> None:
        self.total, self.files, self.beat_s, self.say = total, files, beat_s, say
        self.done = before
        self._lock = threading.Lock()
        self._said = self._began = time.monotonic()
        self._then = self._before = before

    def add(self, count: int) -> None:
        """Adds `count` bytes."""
        with self._lock:
            self.done += count

    def beat(self, whole: int) -> None:
        """Writes a progress line if it is due; `whole` files are verified."""
        now = time.monotonic()
        if now - self._said < self.beat_s:
            return
        rate = max(0.0, (self.done - self._then) / (now - self._said))
        left = f", {_time((self.total - self.done) / rate)} left" if rate else ""
        self._said, self._then = now, self.done
        self.say(f"{self._far()}, {rate / 1e6:.1f} MB/s{left}, {whole} of {self.files} files verified")

    def last(self, whole: int) -> None:
        """Writes the last line."""
        took = max(time.monotonic() - self._began, 1e-3)
        rate = (self.done - self._before) / took / 1e6
        self.say(f"{self._far()} in {_time(took)}, {rate:.1f} MB/s, {whole} of {self.files} files verified")

    def _far(self) -> str:
        percent = 100 * self.done / self.total if self.total else 100.0
        return f"{self.done / 1e9:.3f} GB of {self.total / 1e9:.3f} GB ({percent:.1f} %)"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes // 60} h {minutes % 60} min"
        if minutes >= 60
        else f"{minutes} min {rest} s"
        if minutes
        else f"{rest} s"
    )
