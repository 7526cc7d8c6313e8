"""A program in a pseudo-terminal of its own, and the screen that a person would see there.

The screen knows the control sequences that `leviathan` may write (ECMA-48: CUU, EL, ED, SGR; xterm's ?25h and ?25l) and
fails on any other. Two kinds of terminals are known by what they do to long lines when they get narrower: most break
them (VTE, kitty, tmux, Windows Terminal), some cut them off (xterm, the Linux console).
"""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

SEQUENCE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])")


@dataclass
class Row:
    """One row; `broken` when the line was too long and the terminal continued it in the next row."""

    text: str = ""
    broken: bool = False


class Screen:
    """What stands on the screen and above it. Arguments: `height`, `width`; `breaks`, what a narrower window does."""

    def __init__(self, height: int, width: int, *, breaks: bool = True) -> None:
        self.height, self.width, self.breaks = height, width, breaks
        self.rows = [Row()]
        self.row, self.column = 0, 0
        self.cursor_visible = True
        self._rest = ""

    @property
    def top(self) -> int:
        """The first row that is seen; the ones before it have scrolled off."""
        return max(0, len(self.rows) - self.height)

    @property
    def seen(self) -> list[str]:
        """The rows on the screen."""
        return [row.text.rstrip() for row in self.rows[self.top :]]

    @property
    def all(self) -> list[str]:
        """The rows on the screen and those that have scrolled off."""
        return [row.text.rstrip() for row in self.rows]

    def feed(self, text: str) -> None:
        """Take what the program writes; a sequence may come in pieces."""
        text, self._rest = self._rest + text, ""
        place = 0
        while place < len(text):
            if text[place] == "\x1b":
                found = SEQUENCE.match(text, place)
                if found is None:
                    assert len(text) - place < 16, f"no sequence that the tool may write: {text[place : place + 16]!r}"
                    self._rest = text[place:]
                    return
                self._control(found[1], found[2])
                place = found.end()
            else:
                self._character(text[place])
                place += 1

    def resize(self, height: int, width: int) -> None:
        """Another size, as the terminal shows it before the program has drawn again."""
        lines: list[list[str]] = [[]]
        for number, row in enumerate(self.rows):
            lines[-1].append(row.text)
            if number == self.row:
                at = len(lines) - 1
            if not row.broken:
                lines.append([])
        self.rows = []
        for number, line in enumerate(lines[:-1]):
            pieces = _pieces("".join(line), width if self.breaks else max(width, self.width))
            self.rows += [Row(piece, broken=True) for piece in pieces[:-1]] + [Row(pieces[-1])]
            if number == at:
                self.row = len(self.rows) - 1
        self.height, self.width = height, width
        self.column = min(self.column, width)

    def _character(self, one: str) -> None:
        if one == "\r":
            self.column = 0
        elif one == "\n":
            self.row += 1
            if self.row == len(self.rows):
                self.rows.append(Row())
        else:
            assert one.isprintable(), f"a control character: {one!r}"
            if self.column >= self.width:
                self.rows[self.row].broken = True
                self._character("\n")
                self.column = 0
            row = self.rows[self.row]
            row.text = row.text.ljust(self.column)[: self.column] + one + row.text[self.column + 1 :]
            self.column += 1

    def _control(self, given: str, kind: str) -> None:
        if kind == "A":
            self.row = max(self.row - int(given or 1), self.top)
        elif kind == "K":
            assert given == "2"
            self.rows[self.row] = Row()
        elif kind == "J":
            assert given in ("", "0")
            self.rows[self.row].text = self.rows[self.row].text[: self.column]
            self.rows[self.row].broken = False
            for row in self.rows[self.row + 1 :]:
                row.text, row.broken = "", False
        elif kind in "hl":
            assert given == "?25", given
            self.cursor_visible = kind == "h"
        else:
            assert kind == "m", f"ESC [ {given} {kind}"


def _pieces(text: str, width: int) -> list[str]:
    return [text[start : start + width] for start in range(0, len(text), width)] or [""]


class Session:
    """A program that runs in a terminal; `screen` is what is seen, `status` its exit status once it has ended."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str], screen: Screen) -> None:
        self.screen = screen
        self.status: int | None = None
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            try:
                os.execve(argv[0], list(argv), dict(environ))
            finally:
                os._exit(127)
        self._set_size()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def resize(self, height: int, width: int) -> None:
        """Give the window another size; the program gets SIGWINCH."""
        with self._lock:
            self.screen.resize(height, width)
            self._set_size()

    def rows(self) -> list[str]:
        """The rows on the screen now, none of them half drawn."""
        with self._lock:
            return self.screen.seen

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._terminal, keys.encode())

    def until(self, what: str, seconds: float = 30.0) -> list[str]:
        """The rows on the screen, once one of them has `what`."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if self._failure is not None:
                raise self._failure
            with self._lock:
                if any(what in row for row in self.screen.seen):
                    return self.screen.seen
            time.sleep(0.01)
        raise AssertionError(f"not seen: {what!r}\n" + "\n".join(self.screen.all))

    def wait(self, seconds: float = 60.0) -> int:
        """The exit status, once the program has ended and all that it wrote is on the screen."""
        ends = time.monotonic() + seconds
        while self.status is None:
            pid, code = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(code)
            assert time.monotonic() < ends, "it does not end"
            time.sleep(0.005)
        self._thread.join(10)
        if self._failure is not None:
            raise self._failure
        return self.status

    def settings(self) -> list[object]:
        """The terminal's settings (termios), as a program can leave them changed."""
        return list(termios.tcgetattr(self._terminal))

    def close(self) -> None:
        """End the program if it still runs, and give the terminal back."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._terminal)

    def _set_size(self) -> None:
        size = struct.pack("HHHH", self.screen.height, self.screen.width, 0, 0)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)

    def _read(self) -> None:
        try:
            while True:
                select.select([self._terminal], [], [])
                with self._lock:
                    self.screen.feed(os.read(self._terminal, 1 << 16).decode())
        except OSError:
            return  # the last process on this terminal has ended
        except BaseException as error:
            self._failure = error


@contextlib.contextmanager
def session(argv: Sequence[str], environ: Mapping[str, str], screen: Screen) -> Iterator[Session]:
    """The program in a terminal with this screen."""
    running = Session(argv, environ, screen)
    try:
        yield running
    finally:
        running.close()
