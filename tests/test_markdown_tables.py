"""A row of a table that is wider than a screen is found, as wide as a reader sees it; lists and code are not tables."""

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location(
    "markdown_tables", Path(__file__).parents[1] / "scripts/markdown_tables.py"
)
assert _spec is not None
assert _spec.loader is not None
markdown_tables = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(markdown_tables)


def test_a_row_is_as_wide_as_a_reader_sees_it() -> None:
    assert markdown_tables.cells("| `a` | [text](https://example.org/a/long/path) | b \\| c |") == [
        "a",
        "text",
        "b | c",
    ]
    link = f"[text](https://example.org/{'x' * 200})"
    assert markdown_tables.wide(f"| {link} | {'y' * 113} |") == []
    assert markdown_tables.wide(f"| {link} | {'y' * 114} |") == [(1, 121)]


@pytest.mark.parametrize("line", ["x" * 200, f"- {'x' * 200}", f"```\n| {'x' * 200} |\n```", f"1 | {'x' * 200}"])
def test_what_is_not_a_table_may_be_wide(line: str) -> None:
    assert markdown_tables.wide(f"{line}\n") == []


def test_a_table_after_code_and_one_in_a_quote_are_read() -> None:
    row = f"| {'x' * 121} |"
    assert markdown_tables.wide(f"```\n{row}\n```\n{row}\n\n> {row}\n") == [(4, 121), (6, 121)]


def test_a_wide_row_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.md").write_text(f"| a |\n|---|\n| {'x' * 121} |\n")
    (tmp_path / "other.md").write_text("| a |\n|---|\n")
    assert markdown_tables.main(["other.md"]) == 0
    assert markdown_tables.main(["./other.md", "./page.md"]) == 1
    assert capsys.readouterr().err == (
        "page.md:3: a row of this table is 121 characters wide, expected at most 120, because a wider table does not "
        "fit on a screen; fix: shorten the cells, or make a list of the rows\n"
    )
