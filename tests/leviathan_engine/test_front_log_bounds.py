"""The front's log is bounded, and a reader that stops holds nobody."""

import io
import logging
import threading
import time

from leviathan_engine.front.bounded_log import BoundedLog


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("front", logging.WARNING, "", 0, text, (), None)


def test_the_log_is_bounded_and_says_what_it_left_out() -> None:
    now, out = [0.0], io.StringIO()
    log = BoundedLog(out, most=3, clock=lambda: now[0])
    for number in range(1000):
        log.emit(record(f"line {number}"))
    now[0] = 1.0
    log.emit(record("later"))
    log.close()
    assert out.getvalue().splitlines() == [
        "WARNING: front: line 0",
        "WARNING: front: line 1",
        "WARNING: front: line 2",
        "WARNING: 997 more messages were dropped",
        "WARNING: front: later",
    ]


def test_a_reader_of_the_log_that_stands_still_holds_nobody() -> None:
    """A pipe that nobody reads takes 64 KiB, and then every write to it waits."""
    begin = threading.Event()

    class Stuck(io.StringIO):
        def write(self, _text: str) -> int:
            begin.wait()
            return 0

    log = BoundedLog(Stuck(), most=100_000, waiting=10)
    started = time.monotonic()
    for number in range(10_000):
        log.emit(record(f"line {number}"))
    assert time.monotonic() - started < 5
    begin.set()
