"""Container logs on disk and back: the CRI log format, `TIME stdout|stderr F|P TEXT`, one file a run.

Source: Kubernetes' design document kubelet-cri-logging.md and pkg/kubelet/kuberuntime/logs of 1.34.
"""

import datetime
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

LONGEST = 16384
POLL_S = 0.1


def now_text(when: float | None = None) -> str:
    """RFC 3339 with nanoseconds, in UTC; `when` in seconds since 1970."""
    nanoseconds = time.time_ns() if when is None else int(when * 1e9)
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


class LogWriter:
    """Writes one run's log from its two pipes, each read by a thread of its own."""

    def __init__(self, path: Path) -> None:
        """The file is made, its folder too."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._out = path.open("ab", buffering=0)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def pump(self, pipe: IO[bytes], stream: str) -> None:
        """Start reading `pipe` to its end."""
        thread = threading.Thread(target=self._read, args=(pipe, stream), daemon=True, name=f"log {stream}")
        self._threads.append(thread)
        thread.start()

    def finish(self, timeout_s: float = 5) -> None:
        """Wait for the pipes' ends, then close the file."""
        for thread in self._threads:
            thread.join(timeout_s)
        with self._lock:
            self._out.close()

    def _read(self, pipe: IO[bytes], stream: str) -> None:
        with pipe:
            rest = b""
            while piece := pipe.read1(65536):  # type: ignore[attr-defined]
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    self._write(stream, "F", line)
                while len(rest) > LONGEST:
                    self._write(stream, "P", rest[:LONGEST])
                    rest = rest[LONGEST:]
            if rest:
                # containerd writes the last line without a line break as a partial one.
                self._write(stream, "P", rest)

    def _write(self, stream: str, tag: str, text: bytes) -> None:
        with self._lock:
            if not self._out.closed:
                self._out.write(f"{now_text()} {stream} {tag} ".encode() + text + b"\n")


@dataclass(frozen=True)
class Wanted:
    """What is asked of a log: `since`, RFC 3339; `limit` in bytes."""

    tail: int | None = None
    since: str = ""
    timestamps: bool = False
    follow: bool = False
    limit: int | None = None


def read(path: Path, wanted: Wanted, ended: Callable[[], bool]) -> Iterator[bytes]:
    """The log's text in pieces; when following, until `ended` says that the run is over and all is read."""
    left = wanted.limit
    for piece in _pieces(path, wanted, ended):
        if left is None:
            yield piece
            continue
        yield piece[:left]
        left -= len(piece)
        if left <= 0:
            return


def last(path: Path, lines: int, size: int) -> str:
    """The last lines, at most `size` bytes: what FallbackToLogsOnError puts into the status."""
    text = b"".join(read(path, Wanted(tail=lines), lambda: True))
    return text[-size:].decode(errors="replace")


def _pieces(path: Path, wanted: Wanted, ended: Callable[[], bool]) -> Iterator[bytes]:
    try:
        source = path.open("rb")
    except FileNotFoundError:
        return
    with source:
        if wanted.tail is not None:
            source.seek(_tail_start(source, wanted.tail))
        rest = b""
        while True:
            over = ended()
            while piece := source.read(65536):
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    if shown := _shown(line, wanted):
                        yield shown
            if not wanted.follow or over:
                return
            time.sleep(POLL_S)


def _shown(line: bytes, wanted: Wanted) -> bytes:
    when, _stream, tag, text = (line.split(b" ", 3) + [b""] * 3)[:4]
    if wanted.since and _moment(when.decode()) < _moment(wanted.since):
        return b""
    return (when + b" " if wanted.timestamps else b"") + text + (b"" if tag == b"P" else b"\n")


def _moment(text: str) -> tuple[str, str]:
    """Order of RFC 3339 times in UTC, with or without a fraction."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return whole, fraction.ljust(9, "0")


def _tail_start(source: IO[bytes], lines: int) -> int:
    """Where the last `lines` lines begin."""
    end = source.seek(0, 2)
    if lines == 0:
        return end
    position, found = end, 0
    while position > 0:
        step = min(65536, position)
        position -= step
        source.seek(position)
        block = source.read(step)
        at = len(block) - 1 if position + step == end and block.endswith(b"\n") else len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            found += 1
            if found == lines:
                return position + at + 1
    return 0
