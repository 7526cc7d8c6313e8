"""Shows the progress of a download: how far it is, its last log line, and how long ago that was."""

from collections import deque

from leviathan.model.log_follow import LogChunk
from leviathan.model.progress_text import Progress, find_progress
from leviathan.terminal.output import Console
from leviathan.terminal.progress import time_text

#: Lines of the log that a failure shows.
TAIL = 15
#: Minimum seconds between two updates of the status line, because a log can be faster than a terminal.
SHOW_S = 0.2


class Talk:
    """Keeps the state of the log, and shows it; `last` is its last line.

    Arguments: `heartbeat_s`, seconds between two progress lines if stderr is not a terminal.
    """

    def __init__(self, console: Console, heartbeat_s: float) -> None:
        self.console = console
        self.heartbeat_s = heartbeat_s
        self.last = ""
        self._heard_at = self._beat_at = console.clock()
        self._shown_at = self._heard_at - SHOW_S
        self._progress: Progress | None = None
        self._tail: deque[str] = deque(maxlen=TAIL)
        self._told = ""

    def hear(self, each: LogChunk) -> None:
        """Process a new chunk of the log."""
        self._heard_at = self.console.clock()
        text = each.text.rstrip()
        self.last = text.rsplit("\r", 1)[-1].strip() or self.last
        self._progress = find_progress(text) or self._progress
        self.beat()
        if each.whole:
            self._tail.append(self.last)

    def silent_s(self) -> float:
        """Seconds since the last chunk."""
        return self.console.clock() - self._heard_at

    def beat(self) -> None:
        """Show the progress, if it is time to."""
        now = self.console.clock()
        parts = [self._progress.text()] if self._progress else []
        parts.append(self.last[:120] if self.last else "no log line yet")
        still = now - self._heard_at
        parts += [f"nothing new for {time_text(still)}"] if still >= 5 else []
        line = f"model: {', '.join(parts)}"
        if now - self._shown_at >= SHOW_S:
            self._shown_at = now
            self.console.status(line)
        if not self.console.tty and now - self._beat_at >= self.heartbeat_s:
            self._beat_at = now
            self.console.say(line)

    def tell(self, text: str) -> None:
        """Print `text`, unless it was the last text printed."""
        if text != self._told:
            self._told = text
            self.console.say(f"model: {text}")

    def show_tail(self) -> None:
        """Print the log's last lines."""
        self.console.clear()
        for line in self._tail:
            self.console.say(f"  | {line[:300]}")
