"""Which parts run for which command line."""

import json

import pytest

from bench import __main__ as bench
from bench.errors import BenchError, Missing
from bench.table import Line, Row


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        ([], bench.PARTS),
        (["size", "building"], ("building", "size")),
        (["size", "size"], ("size",)),
        (["size", "--phases"], ("size", "phases")),
        (["--nvcc", "cuda"], bench.PARTS),
        (["size", "--nvcc", "cuda"], ("size", "nvcc")),
    ],
)
def test_parts(argv: list[str], parts: tuple[str, ...]) -> None:
    asked = bench.options(argv)
    assert asked.parts == parts
    assert tuple(bench.measurements(asked)) == parts


def test_every_derivation_only_when_asked() -> None:
    assert not bench.options([]).everything
    assert bench.options(["--phases"]).everything


def test_an_unknown_part_is_a_usage_error_that_names_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.options(["pull"])
    assert ended.value.code == 2
    assert f"no part pull: choose from {', '.join(bench.PARTS)}" in capsys.readouterr().err


def run(monkeypatch: pytest.MonkeyPatch, argv: list[str], found: list[Line] | Exception) -> int:
    """main, with every part finding this."""

    def measure() -> list[Line]:
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(bench, "measurements", lambda asked: dict.fromkeys(asked.parts, measure))
    return bench.main(argv)


def test_exit_tells_of_limits(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, ["size"], [Row("image", 3.0, "GB", most=3.6)]) == 0
    assert run(monkeypatch, ["size"], [Row("image", 3.7, "GB", most=3.6)]) == 1
    assert "over the limit" in capsys.readouterr().out


def test_what_is_missing_is_told_and_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, ["size"], Missing("no skopeo: run apt-get install skopeo")) == 0
    assert "not run: no skopeo: run apt-get install skopeo" in capsys.readouterr().out


def test_a_failed_part_is_exit_1_and_the_others_still_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, ["building", "size"], BenchError("skopeo ended with 1:\nits words")) == 1
    out, err = capsys.readouterr()
    assert out.count("not run: failed: skopeo ended with 1:") == 2
    assert "size: skopeo ended with 1:\nits words" in err


def test_json_on_stdout_has_the_rows_and_the_table_goes_to_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = Row("image", 3.0, "GB", 6.0, "other", most=3.6)
    assert run(monkeypatch, ["size", "--json"], [row]) == 0
    out, err = capsys.readouterr()
    (found,) = json.loads(out)["rows"]
    assert (found["ours"], found["ratio"], found["verdict"]) == (3.0, 0.5, "good")
    assert "6 GB (other)" in err
    assert run(monkeypatch, ["size"], [row]) == 0
    assert "6 GB (other)" in capsys.readouterr().out
