"""Logs: the format on disk, and every way of reading them."""

import io
import re
import threading
import time
from pathlib import Path

import pytest

from .logs import LONGEST, LogWriter, Wanted, last, now_text, read
from .support import until

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) [FP] .*")


def write(path: Path, data: bytes, stream: str = "stdout") -> None:
    writer = LogWriter(path)
    writer.pump(io.BufferedReader(io.BytesIO(data)), stream)
    writer.finish()


def text(path: Path, **wanted: object) -> bytes:
    return b"".join(read(path, Wanted(**wanted), lambda: True))  # type: ignore[arg-type]


def test_lines_long_lines_and_a_last_one_without_an_end(tmp_path: Path) -> None:
    path = tmp_path / "a/0.log"
    long = b"x" * (LONGEST * 2 + 5)
    write(path, b"one\n\n" + long + b"\nlast")
    for line in path.read_text().splitlines():
        assert LINE.fullmatch(line)
    assert text(path) == b"one\n\n" + long + b"\nlast"


@pytest.mark.parametrize(("tail", "expected"), [(0, b""), (1, b"n99\n"), (3, b"n97\nn98\nn99\n"), (1000, None)])
def test_tail(tmp_path: Path, tail: int, expected: bytes | None) -> None:
    path = tmp_path / "0.log"
    whole = b"".join(b"n%d\n" % n for n in range(100))
    write(path, whole)
    assert text(path, tail=tail) == (whole if expected is None else expected)


def test_tail_of_a_big_log(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    write(path, b"".join(b"line %d %s\n" % (n, b"." * 200) for n in range(3000)))
    assert text(path, tail=2).split()[1::3] == [b"2998", b"2999"]


def test_since_timestamps_and_limit(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    write(path, b"before\n")
    moment = now_text()
    time.sleep(0.001)
    write(path, b"after\n", "stderr")
    assert text(path, since=moment) == b"after\n"
    assert text(path, since=moment.partition(".")[0] + "Z") == b"before\nafter\n"
    stamped = text(path, since=moment, timestamps=True).decode()
    assert re.fullmatch(r"\S+Z after\n", stamped)
    assert text(path, limit=4) == b"befo"
    assert text(tmp_path / "none") == b""
    assert last(path, 80, 2048) == "before\nafter\n"
    assert last(path, 1, 3) == "er\n"


def test_follow_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    write(path, b"first\n")
    over = threading.Event()
    got: list[bytes] = []

    def follow() -> None:
        got.extend(read(path, Wanted(follow=True, tail=1), over.is_set))

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    try:
        until(lambda: got == [b"first\n"], "the first line")
        write(path, b"second\n")
        until(lambda: got == [b"first\n", b"second\n"], "the second line")
        write(path, b"third\n")
    finally:
        over.set()
    reader.join(10)
    assert b"".join(got) == b"first\nsecond\nthird\n"
