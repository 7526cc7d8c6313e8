"""Verdicts, cells and exit: what a limit means."""

import json

import pytest

from bench.table import COLUMNS, Line, NotRun, Row, Verdict, failed, figure, record, render

GOOD = Row("push", 7.0, "s", 10.0, "skopeo", most_ratio=1)


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (GOOD, Verdict.GOOD),
        (Row("push", 10.0, "s", 10.0, "skopeo", most_ratio=1), Verdict.GOOD),
        (Row("push", 10.1, "s", 10.0, "skopeo", most_ratio=1), Verdict.OVER),
        (Row("eval", 0.4, "s", most=0.5), Verdict.GOOD),
        (Row("eval", 0.6, "s", most=0.5), Verdict.OVER),
        (Row("image", 3700, "MB", 7791, "Nix", most=3600, most_ratio=1), Verdict.OVER),
        (Row("image", 3500, "MB", 3000, "Nix", most=3600, most_ratio=1), Verdict.OVER),
        (Row("image", 3500, "MB", 7791, "Nix", most=3600, most_ratio=1), Verdict.GOOD),
        (Row("built again", 3.0, "s"), Verdict.FREE),
        (Row("compared", 3.0, "s", 1.0, "other"), Verdict.FREE),
        (Row("compile", 3.0, "s", 30.0, "nvcc, stopped", most_ratio=1, at_least=True), Verdict.GOOD),
        (Row("compile", 3.0, "s", 2.0, "nvcc, stopped", most_ratio=1, at_least=True), Verdict.OPEN),
        (Row("compile", 3.0, "s", 2.0, "nvcc, stopped", most=2, most_ratio=1, at_least=True), Verdict.OVER),
    ],
)
def test_verdict(row: Row, verdict: Verdict) -> None:
    assert row.verdict is verdict


def test_one_row_over_its_limit_fails_the_run() -> None:
    over = Row("push", 11.0, "s", 10.0, "skopeo", most_ratio=1)
    assert failed([GOOD, over])
    assert not failed([GOOD, NotRun("moe", "no wheel"), Row("free", 1.0, "s")])


def test_what_was_stopped_is_no_equal() -> None:
    row = Row("compile", 3.0, "s", 30.0, "nvcc, stopped", most_ratio=1, at_least=True)
    assert row.cells() == ("compile", "3 s", "≥ 30 s (nvcc, stopped)", "< 0.10, ≤ 1", "good")


def test_ratio_is_ours_over_theirs() -> None:
    assert GOOD.ratio == pytest.approx(0.7)
    assert Row("eval", 0.4, "s", most=0.5).ratio is None


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.0123 s"), (1.5, "1.5 s"), (99.94, "99.9 s"), (100.4, "100 s"), (2810.2, "2810 s")]
)
def test_figure(value: float, text: str) -> None:
    assert figure(value, "s") == text


def test_no_unit_leaves_no_space() -> None:
    assert figure(0.5, "") == "0.5"


def test_table_is_markdown_with_a_cell_for_every_column_and_the_reasons_below() -> None:
    lines: list[Line] = [GOOD, NotRun("push", "no skopeo: run apt-get install skopeo")]
    table, reasons = render(lines).split("\n\n", 1)
    rows = table.splitlines()
    assert rows[0].split("|")[1].strip() == COLUMNS[0]
    assert {len(row) for row in rows} == {len(rows[0])}
    assert {row.count("|") for row in rows} == {len(COLUMNS) + 1}
    assert [cell.strip() for cell in rows[2].split("|")[1:-1]] == ["push", "7 s", "10 s (skopeo)", "0.70, ≤ 1", "good"]
    assert [cell.strip() for cell in rows[3].split("|")[1:-1]] == ["push", "", "", "", "not run"]
    assert reasons == "- push: not run: no skopeo: run apt-get install skopeo"


def test_a_wide_table_is_not_padded() -> None:
    wide = Row("x" * 70, 7.0, "s", 10.0, "kt-kernel==0.7.2, avx2", most_ratio=1)
    assert render([wide, GOOD]).splitlines()[2:] == [
        f"| {'x' * 70} | 7 s | 10 s (kt-kernel==0.7.2, avx2) | 0.70, ≤ 1 | good |",
        "| push | 7 s | 10 s (skopeo) | 0.70, ≤ 1 | good |",
    ]


def test_record_goes_through_json() -> None:
    first, second = json.loads(json.dumps(record([GOOD, NotRun("moe", "no wheel")])))
    assert (first["what"], first["ratio"], first["verdict"]) == ("push", 0.7, "good")
    assert second == {"what": "moe", "why": "no wheel", "verdict": "not run"}
