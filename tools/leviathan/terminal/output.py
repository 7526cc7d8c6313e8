"""What the user sees: the result on stdout, the talk on stderr, both also as JSON."""

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from leviathan.errors import ExitCode, LeviathanError
from leviathan.terminal.plain import plain, plain_json

ERASE = "\r\x1b[2K"


@dataclass(frozen=True)
class Report:
    """The result of a command: `text` for people, `data` for programs, `ok` false when the command failed."""

    text: str
    data: Mapping[str, Any] = field(default_factory=dict)
    ok: bool = True

    def json(self) -> str:
        """The report as one JSON object with `ok` first, keys in the order of `data`."""
        return plain_json(json.dumps({"ok": self.ok, **self.data}, indent=2, ensure_ascii=False))


class Console:
    """The one owner of stderr: lines, and on a terminal one line that is rewritten in place.

    Arguments: `stream` and `clock` (seconds, monotonic) are injected for tests; `debug` lets debug lines through;
    `color` is only for the word `error`, on a terminal without NO_COLOR.
    """

    def __init__(
        self, stream: IO[str] | None = None, *, clock: Callable[[], float] = time.monotonic, debug: bool = False
    ) -> None:
        self.stream = stream if stream is not None else sys.stderr
        self.clock = clock
        self.debugging = debug
        self.tty = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self._lock = threading.RLock()  # a signal handler may speak while its thread does
        self._transient = False

    def say(self, text: str) -> None:
        """Print `text` as a line; control characters in it are shown, not sent."""
        self._line(plain(text))

    def _line(self, text: str) -> None:
        with self._lock:
            erase = ERASE if self._transient else ""
            self._transient = False
            self.write(f"{erase}{text}\n")

    def debug(self, text: str) -> None:
        """Print `text` as a line when debugging."""
        if self.debugging:
            self.say(f"debug: {text}")

    def status(self, text: str) -> None:
        """Rewrite the status line on a terminal (cut to its width); elsewhere do nothing: use `say` for a heartbeat."""
        if not self.tty:
            return
        try:
            width = os.get_terminal_size(self.stream.fileno()).columns
        except (OSError, ValueError):
            width = 80
        with self._lock:
            self._transient = True
            self.write(f"{ERASE}{plain(text, keep='')[: max(width - 1, 1)]}")

    def clear(self) -> None:
        """Take the status line away."""
        with self._lock:
            if self._transient:
                self._transient = False
                self.write(ERASE)

    def error(self, error: LeviathanError) -> None:
        """Print an error as its one line."""
        label = "\x1b[31merror\x1b[0m" if self.tty and "NO_COLOR" not in os.environ else "error"
        self._line(f"{label}: {plain(error.line())}")

    def write(self, text: str) -> None:
        """Write `text` unchanged, for a caller that draws on the terminal."""
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):
            pass  # nobody reads this output any more (a closed pipe or terminal); the work continues


def emit(
    report: Report, *, as_json: bool = False, result_file: Path | None = None, stdout: IO[str] | None = None
) -> None:
    """Write the result: text or, with `as_json`, JSON to stdout; JSON to `result_file` in any case, if one is given.

    On a terminal, control characters of the text are shown, not sent.

    Each is written although the other cannot be, stdout first: it is what a person waits for.
    Errors: LeviathanError when `result_file` cannot be written; BrokenPipeError when nobody reads stdout.
    """
    out = stdout if stdout is not None else sys.stdout
    text = plain(report.text) if out.isatty() else report.text
    body = report.json() if as_json else text
    try:
        if body:
            out.write(body if body.endswith("\n") else body + "\n")
            out.flush()
    finally:
        if result_file is not None:
            write_atomically(result_file, report.json() + "\n")


def interrupted() -> LeviathanError:
    """The error of a command that a signal has stopped."""
    error = LeviathanError("stopped", why="by a signal", remedy="run the same command again")
    error.exit_code = ExitCode.INTERRUPTED
    return error


def failed(error: LeviathanError) -> Report:
    """The report of a failure: nothing for people, who have its line on stderr."""
    return Report("", {"error": error.report()}, ok=False)


def write_atomically(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace `path` by a file with `text`: readers see the old file or the whole new one.

    Errors: LeviathanError that names the path and the reason.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            Path(name).chmod(mode)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise LeviathanError(
            "cannot write the file",
            where=str(path),
            why=error.strerror or str(error),
            remedy="name a folder that exists and is writable",
        ) from None
