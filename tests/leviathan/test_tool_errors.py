"""Errors are one line with a remedy, and every exit code is documented."""

import pytest

from leviathan.errors import EXIT_CODES, ExitCode, LeviathanError, UsageError


def test_line_has_all_parts() -> None:
    error = LeviathanError("it broke", where="here", why="because\n  of this", remedy="mend it")
    assert error.line() == str(error) == "it broke (here): because of this; fix: mend it"
    assert error.report() == {
        "what": "it broke",
        "where": "here",
        "why": "because of this",
        "remedy": "mend it",
        "exit_code": 1,
    }


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ({}, "what"),
        ({"where": "w"}, "what (w)"),
        ({"why": "y"}, "what: y"),
        ({"remedy": "r"}, "what; fix: r"),
    ],
)
def test_parts_that_are_missing_leave_no_trace(parts: dict[str, str], line: str) -> None:
    assert LeviathanError("what", **parts).line() == line


def test_exit_codes_are_documented_and_distinct() -> None:
    assert list(EXIT_CODES) == list(ExitCode)
    assert all(EXIT_CODES.values())
    assert len({int(code) for code in ExitCode}) == len(ExitCode)
    assert (ExitCode.DONE, ExitCode.FAILED, ExitCode.USAGE, ExitCode.INTERRUPTED) == (0, 1, 2, 130)


def every_error(of: type[LeviathanError] = LeviathanError) -> list[type[LeviathanError]]:
    return [of, *(found for each in of.__subclasses__() for found in every_error(each))]


def test_every_error_has_an_exit_code_above_zero() -> None:
    assert UsageError in every_error()
    assert all(each.exit_code > 0 for each in every_error())
