"""One line of progress: redrawn on a terminal, a heartbeat every ten seconds elsewhere."""

import os
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

REDRAW = 0.2
HEARTBEAT = 10.0
WINDOW = 5.0


def size(count: float) -> str:
    """A number of bytes for people, in decimal units."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


class Progress:
    """Owns `stream` (stderr) while a fetch runs; `clock` gives seconds."""

    def __init__(self, stream: TextIO, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream = stream
        self.total = total
        self.clock = clock
        self.terminal = stream.isatty()
        self.shown = False
        self.last = clock() if not self.terminal else clock() - REDRAW
        self.samples: deque[tuple[float, int]] = deque()

    def update(self, done: int, received: int, doing: str) -> None:
        """`done` artifacts of all, `received` bytes so far, and a word on what happens; draws when it is time."""
        now = self.clock()
        self.samples.append((now, received))
        while len(self.samples) > 1 and now - self.samples[0][0] > WINDOW:
            self.samples.popleft()
        if now - self.last < (REDRAW if self.terminal else HEARTBEAT):
            return
        self.last = now
        text = f"fetch: {done} of {self.total} artifacts, {size(received)}, {size(self.rate())}/s  {doing}".rstrip()
        if self.terminal:
            self.stream.write("\r" + text[: self.columns() - 1] + "\033[K")
            self.shown = True
        else:
            self.stream.write(text + "\n")
        self.stream.flush()

    def rate(self) -> float:
        """Bytes a second over the last five seconds."""
        (start, before), (end, after) = self.samples[0], self.samples[-1]
        return max(0.0, (after - before) / (end - start)) if end > start else 0.0

    def columns(self) -> int:
        """The width of the terminal in characters."""
        try:
            return os.get_terminal_size(self.stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def note(self, text: str) -> None:
        """A line of its own, above the progress line."""
        self.clear()
        self.stream.write(text + "\n")
        self.stream.flush()

    def clear(self) -> None:
        """Take the progress line off the terminal."""
        if self.shown:
            self.stream.write("\r\033[K")
            self.stream.flush()
            self.shown = False
