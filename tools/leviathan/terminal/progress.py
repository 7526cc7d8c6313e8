"""Progress of what takes long: a status line on a terminal, a heartbeat line elsewhere."""

import threading
from abc import ABC, abstractmethod
from collections import deque
from types import TracebackType
from typing import Self

from leviathan.terminal.output import Console

WINDOW_S = 10.0
TICK_S = 0.25
HEARTBEAT_S = 15.0


def size_text(count: float) -> str:
    """`count` bytes with a decimal unit: 512 B, 3.4 MB, 1.20 GB."""
    for unit, scale, digits in (("GB", 1e9, 2), ("MB", 1e6, 1), ("kB", 1e3, 1)):
        if count >= scale:
            return f"{count / scale:.{digits}f} {unit}"
    return f"{count:.0f} B"


def time_text(seconds: float) -> str:
    """`seconds` in words: 45 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class Background(ABC):
    """Talks from a thread of its own while a block runs, as a context manager; the status line goes with it."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    @abstractmethod
    def _run(self) -> None:
        """What is said, until `_stop` is set."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.console.clear()


class Waiting(Background):
    """Says what is waited for, and every 15 s how long already.

    Arguments: `label` starts each line; the caller may change it when it waits for something else.
    """

    def __init__(self, console: Console, label: str) -> None:
        super().__init__(console)
        self.label = label

    def __enter__(self) -> Self:
        self.console.status(f"{self.label} ...")
        return super().__enter__()

    def _run(self) -> None:
        began = self.console.clock()
        while not self._stop.wait(HEARTBEAT_S):
            waited = f"{self.label}, {self.console.clock() - began:.0f} s"
            self.console.status(waited)
            if not self.console.tty:
                self.console.say(waited)


class Meter(Background):
    """Counts bytes from several threads and shows how far they are, as a context manager.

    Arguments: `label` starts each line; `total` is the number of bytes to come; `heartbeat_s` is the time between two
    lines where stderr is not a terminal.
    """

    def __init__(self, console: Console, label: str, total: int, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        super().__init__(console)
        self.label = label
        self.total = total
        self.heartbeat_s = heartbeat_s
        self.done = 0
        self.moved = 0
        self.note = ""
        self._lock = threading.Lock()
        self._started = self._moved_at = console.clock()
        self._samples: deque[tuple[float, int]] = deque([(self._started, 0)])

    def add(self, count: int) -> None:
        """`count` more bytes were moved; negative when bytes have to be sent again (they stay in `moved`)."""
        with self._lock:
            self.done += count
            if count > 0:
                self.moved += count
                self._moved_at = self.console.clock()

    def found(self, count: int) -> None:
        """`count` bytes turned out to be there already: they count as done, not for the rate."""
        with self._lock:
            self.done += count

    def rate(self) -> float:
        """Bytes a second over the last ten seconds."""
        now = self.console.clock()
        with self._lock:
            self._samples.append((now, self.moved))
            while len(self._samples) > 2 and now - self._samples[0][0] > WINDOW_S:
                self._samples.popleft()
            then, moved = self._samples[0]
            return (self.moved - moved) / (now - then) if now > then else 0.0

    def line(self) -> str:
        """The progress in one line."""
        rate = self.rate()
        percent = 100 * self.done // self.total if self.total else 100
        text = f"{self.label}: {size_text(self.done)} of {size_text(self.total)}, {percent} %"
        still = self.console.clock() - self._moved_at
        if self.done >= self.total:
            text += ", all sent"
        elif rate > 0:
            text += f", {size_text(rate)}/s, {time_text((self.total - self.done) / rate)} left"
        else:
            text += f", nothing moved for {time_text(still)}"
        return f"{text} ({self.note})" if self.note else text

    def _run(self) -> None:
        beat = self.console.clock() + self.heartbeat_s
        while not self._stop.wait(TICK_S):
            line = self.line()
            self.console.status(line)
            if not self.console.tty and self.console.clock() >= beat:
                beat = self.console.clock() + self.heartbeat_s
                self.console.say(line)
