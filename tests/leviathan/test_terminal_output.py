"""stdout is the result, stderr the talk; progress says rate and remaining time."""

import io
import json
import re
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from leviathan.cli import early_options as given
from leviathan.cli.options import Invocation
from leviathan.errors import LeviathanError
from leviathan.preflight.check_result import CheckResult
from leviathan.preflight.facts import Facts
from leviathan.preflight.preflight_phase import run
from leviathan.site.schema import Site
from leviathan.terminal.output import Console, Report, emit, write_atomically
from leviathan.terminal.progress import Meter, size_text, time_text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_emit_text_or_json(tmp_path: Path) -> None:
    report, out = Report("done", {"n": 1}), io.StringIO()
    emit(report, stdout=out, result_file=tmp_path / "r.json")
    assert out.getvalue() == "done\n"
    assert json.loads((tmp_path / "r.json").read_text()) == {"ok": True, "n": 1}
    out = io.StringIO()
    emit(report, as_json=True, stdout=out)
    assert json.loads(out.getvalue()) == {"ok": True, "n": 1}


class Closed(io.StringIO):
    """stdout whose reader has gone."""

    def flush(self) -> None:
        raise BrokenPipeError


def test_emit_writes_each_although_the_other_cannot_be(tmp_path: Path) -> None:
    report, out = Report("done", {"n": 1}), io.StringIO()
    with pytest.raises(LeviathanError, match="cannot write the file"):
        emit(report, stdout=out, result_file=tmp_path / "none/r.json")
    assert out.getvalue() == "done\n"
    with pytest.raises(BrokenPipeError):
        emit(report, stdout=Closed(), result_file=tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text()) == {"ok": True, "n": 1}


@pytest.mark.parametrize(
    ("words", "path", "json_too"),
    [
        ("push", "", False),
        ("push --result-file r --json", "r", True),
        ("push --result-file=a=b --layout", "a=b", False),
        ("push --result-file r --result-file s", "s", False),
        ("push --result-file", "", False),
        ("push --result-file --json", "--json", True),
        ("push -- --result-file r --json", "", False),
    ],
)
def test_given(words: str, path: str, json_too: bool) -> None:
    assert (given.result_file(words.split()), given.as_json(words.split())) == (path, json_too)


def invocation(result_file: Path | None, talk: io.StringIO) -> Invocation:
    return Invocation(Console(talk), False, result_file, None, (), {})


def test_result_file_says_not_ended_while_the_work_is_done(tmp_path: Path) -> None:
    path, seen = tmp_path / "r.json", []

    def work() -> Report:
        seen.append(json.loads(path.read_text()))
        return Report("")

    path.write_text('{"ok": true}')
    assert invocation(path, io.StringIO()).finish(work) == 0
    assert seen[0]["ok"] is False
    assert seen[0]["error"]["what"] == "not finished"
    assert json.loads(path.read_text()) == {"ok": True}


def test_unwritable_result_file_is_one_line_before_the_work(tmp_path: Path) -> None:
    def work() -> Report:
        raise AssertionError("it was done")

    talk = io.StringIO()
    assert invocation(tmp_path / "none/r.json", talk).finish(work) == 1
    [line] = talk.getvalue().splitlines()
    assert line.startswith("error: cannot write the file")


def test_result_file_that_cannot_be_written_after_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was done is on stdout; the failure is one line, and the exit status has it."""
    folder, talk = tmp_path / "folder", io.StringIO()
    folder.mkdir()

    def work() -> Report:
        shutil.rmtree(folder)
        return Report("done")

    assert invocation(folder / "r.json", talk).finish(work) == 1
    assert capsys.readouterr().out == "done\n"
    [line] = talk.getvalue().splitlines()
    assert line.startswith("error: cannot write the file")


def test_a_report_that_is_no_json_is_an_internal_error(tmp_path: Path) -> None:
    talk = io.StringIO()
    assert invocation(tmp_path / "r.json", talk).finish(lambda: Report("", {"bad": object()})) == 1
    assert talk.getvalue().startswith("error: internal error: TypeError")
    assert json.loads((tmp_path / "r.json").read_text())["error"]["what"] == "internal error"


def test_write_atomically(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_atomically(path, "one", mode=0o600)
    write_atomically(path, "two", mode=0o600)
    assert path.read_text() == "two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(LeviathanError, match=r"cannot write the file .*none/f\): No such file.*fix: "):
        write_atomically(tmp_path / "none/f", "x")


def test_status_is_for_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    plain, terminal = io.StringIO(), Terminal()
    for stream in (plain, terminal):
        console = Console(stream)
        console.status("half")
        console.say("line")
    assert plain.getvalue() == "line\n"
    assert "half" in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[2Kline\n")
    dumb = Terminal()
    monkeypatch.setenv("TERM", "dumb")
    Console(dumb).status("half")
    assert dumb.getvalue() == ""


def test_status_is_cut_to_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    Console(stream).status("x" * 500)
    assert stream.getvalue().count("x") == 79


def test_debug_only_when_asked() -> None:
    quiet, loud = io.StringIO(), io.StringIO()
    Console(quiet).debug("detail")
    Console(loud, debug=True).debug("detail")
    assert (quiet.getvalue(), loud.getvalue()) == ("", "debug: detail\n")


def test_console_outlives_its_reader() -> None:
    stream = io.StringIO()
    console = Console(stream)
    stream.close()
    console.say("to nobody")


def test_error_is_one_line_and_red_only_where_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    plain, colored = io.StringIO(), Terminal()
    Console(plain).error(LeviathanError("bad", remedy="good"))
    Console(colored).error(LeviathanError("bad"))
    assert plain.getvalue() == "error: bad; fix: good\n"
    assert colored.getvalue() == "\x1b[31merror\x1b[0m: bad\n"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (3.25e6, "3.2 MB"), (1.234e9, "1.23 GB")]
)
def test_size_text(count: float, text: str) -> None:
    assert size_text(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")])
def test_time_text(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


def test_meter_lines() -> None:
    clock = Clock()
    meter = Meter(Console(io.StringIO(), clock=clock), "push", 1000_000_000)
    assert meter.line() == "push: 0 B of 1.00 GB, 0 %, nothing moved for 0 s"
    clock.now += 2
    meter.found(500_000_000)
    meter.add(100_000_000)
    assert meter.line() == "push: 600.0 MB of 1.00 GB, 60 %, 50.0 MB/s, 8 s left"
    clock.now += 8
    assert meter.line().endswith("600.0 MB of 1.00 GB, 60 %, 10.0 MB/s, 40 s left"), "over the last ten seconds"
    clock.now += 60
    assert meter.line().endswith("60 %, nothing moved for 1 min 8 s")
    meter.found(-100_000_000)
    meter.add(500_000_000)
    assert meter.line().endswith("100 %, all sent")


def test_heartbeat_without_a_terminal() -> None:
    stream = io.StringIO()
    with Meter(Console(stream), "push", 100, heartbeat_s=0.1) as meter:
        meter.add(50)
        time.sleep(1.0)
    lines = stream.getvalue().splitlines()
    assert len(lines) >= 2
    assert all(line.startswith("push: 50 B of 100 B, 50 %") for line in lines)


def test_preflight_has_a_heartbeat(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it still waits for, with and without a terminal; silence would be a minute of time-outs."""
    monkeypatch.setattr("leviathan.terminal.progress.HEARTBEAT_S", 0.1)
    monkeypatch.setenv("TERM", "xterm")

    def slow(facts: Facts) -> Iterator[CheckResult]:
        time.sleep(1.0)
        yield from ()

    monkeypatch.setattr("leviathan.preflight.preflight_phase.CHECKS", {"quick": lambda facts: (), "slow": slow})
    plain, terminal = io.StringIO(), Terminal()
    for stream in (plain, terminal):
        run(site, {}, Console(stream))
    lines = plain.getvalue().splitlines()
    assert len(lines) >= 2
    assert re.fullmatch(r"preflight: 1 of 2, waiting for slow, \d s", lines[-1])
    assert "preflight: 1 of 2, waiting for slow" in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[2K")
    assert "\n" not in terminal.getvalue()


def test_no_heartbeat_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with Meter(Console(stream), "push", 100, heartbeat_s=0.1):
        time.sleep(0.6)
    assert "\n" not in stream.getvalue()
    assert "push: 0 B" in stream.getvalue()
    assert stream.getvalue().endswith("\x1b[2K"), "the line is taken away at the end"
