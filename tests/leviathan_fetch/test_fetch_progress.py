"""The progress line: redrawn on a terminal, a heartbeat elsewhere."""

import io

import pytest

from leviathan_fetch.progress import Progress, size


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_490_652, "1.5 MB"),
        (899_821_446, "899.8 MB"),
        (4.46e9, "4.46 GB"),
    ],
)
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


def test_a_log_gets_a_line_every_ten_seconds() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = Progress(stream, 9, clock)
    for second in range(26):
        clock.now = 100.0 + second
        progress.update(second // 5, second * 2_000_000, "torch.whl")
    assert stream.getvalue().splitlines() == [
        "fetch: 2 of 9 artifacts, 20.0 MB, 2.0 MB/s  torch.whl",
        "fetch: 4 of 9 artifacts, 40.0 MB, 2.0 MB/s  torch.whl",
    ]


def test_a_stall_shows_as_no_rate() -> None:
    clock, stream = Clock(), io.StringIO()
    progress = Progress(stream, 1, clock)
    for second in range(11):
        clock.now = 100.0 + second
        progress.update(0, min(second, 3) * 1000, "")
    assert stream.getvalue() == "fetch: 0 of 1 artifacts, 3.0 kB, 0 B/s\n"


def test_a_terminal_has_one_line_that_is_redrawn_and_cleared() -> None:
    clock, stream = Clock(), Terminal()
    progress = Progress(stream, 9, clock)
    progress.update(1, 0, "a" * 200)
    progress.update(2, 0, "too soon")
    clock.now += 0.3
    progress.update(3, 0, "b")
    progress.note("leviathan: a line")
    progress.clear()
    first, second, rest = stream.getvalue().split("\033[K", 2)
    assert first.startswith("\rfetch: 1 of 9")
    assert len(first) == 80
    assert second == "\rfetch: 3 of 9 artifacts, 0 B, 0 B/s  b"
    assert rest == "\r\033[Kleviathan: a line\n"
