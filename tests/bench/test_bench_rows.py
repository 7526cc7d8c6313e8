"""The rows of push, front and planner from what was measured; and the planner's command for real."""

import json

import pytest

from bench import front, planner, push
from bench.errors import BenchError, Missing
from bench.table import Row, Verdict


def pushes(changed: float) -> dict[str, list[float]]:
    """Rounds of both pushers."""
    ours = {"leviathan": [9.0, 11.0, 10.0], "leviathan again": [0.3] * 3, "leviathan changed": [0.1, changed, 9.0]}
    return ours | {"skopeo": [13.0] * 3, "skopeo again": [0.1] * 3, "skopeo changed": [0.2] * 3}


def test_push_rows_are_medians_with_their_limits() -> None:
    first, again, changed = push.rows(pushes(0.7))
    assert isinstance(first, Row)
    assert isinstance(again, Row)
    assert isinstance(changed, Row)
    assert (first.ours, first.theirs, first.most_ratio) == (10.0, 13.0, 1)
    assert (again.ours, again.most) == (0.3, 1)
    assert (changed.ours, changed.theirs, changed.most, changed.verdict) == (0.7, 0.2, 2, Verdict.GOOD)
    assert push.rows(pushes(2.1))[2].verdict is Verdict.OVER


FRONT = [
    {"what": "a request", "value": 1.1, "limit": 2.0, "unit": "ms", "detail": "100 in turns"},
    {"what": "decode", "value": 0.011, "limit": 0.02, "unit": "", "detail": ""},
    {"what": "/health", "value": 12.0, "limit": 10.0, "unit": "ms", "detail": ""},
    {"what": "the port listens", "value": float("inf"), "limit": 2.0, "unit": "s", "detail": ""},
]


def test_front_rows_have_its_limits_and_a_share_is_per_cent() -> None:
    request, decode, health, port = front.rows(json.dumps(FRONT))
    assert request.cells()[1:] == ("1.1 ms", "", "≤ 2 ms", "good")
    assert decode.cells()[1:] == ("1.1 %", "", "≤ 2 %", "good")
    assert health.cells()[1:] == ("12 ms", "", "≤ 10 ms", "over the limit")
    assert port.verdict is Verdict.OVER


def test_a_front_bench_that_fails_is_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "PROGRAM", front.PROGRAM.with_name("no_such_program.py"))
    with pytest.raises(BenchError, match=r"no_such_program.py ended with 2"):
        front.measure()


def test_the_planner_plans_671b_from_the_whole_header() -> None:
    try:
        (row,) = planner.measure()
    except Missing as missing:
        pytest.skip(str(missing))
    assert isinstance(row, Row)
    assert row.most == planner.LIMIT_S
    assert 0 < row.ours < 60  # its limit is the bench's: this machine may be busy


def test_a_planner_that_fails_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "MACHINE", ("--gpus", "1000", "--ram", "384"))
    with pytest.raises(BenchError, match=r"the planner ended with"):
        planner.measure()
