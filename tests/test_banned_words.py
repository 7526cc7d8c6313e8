"""Each idiom in the table of scripts/banned_words.py is found in its example, and plain sentences pass."""

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("banned_words", Path(__file__).parents[1] / "scripts/banned_words.py")
assert _spec is not None
assert _spec.loader is not None
banned_words = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(banned_words)


@pytest.mark.parametrize(
    ("pattern", "instead", "example"), banned_words.BANNED, ids=[row[0] for row in banned_words.BANNED]
)
def test_each_example_is_found_and_its_remedy_passes(pattern: str, instead: str, example: str) -> None:
    assert [found for _, _, found in banned_words.idioms(example)] == [instead]
    assert banned_words.idioms(instead) == []


def test_a_sentence_over_two_lines_of_a_comment_is_found() -> None:
    assert banned_words.idioms("# first\n# the push goes\n# on\n") == [(2, "goes # on", "resume, continue")]


@pytest.mark.parametrize(
    "sentence",
    [
        "There is no archive.",
        "It is no longer than a line, and no more than two.",
        "No more requests are accepted.",
        "The experts go on the GPU.",
        "The count is 3, besides.",
    ],
)
def test_plain_sentences_pass(sentence: str) -> None:
    assert banned_words.idioms(sentence) == []


def test_a_file_with_an_idiom_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for root in banned_words.ROOTS:
        (tmp_path / root).write_text("Plain.\n") if "." in root else (tmp_path / root).mkdir()
    assert banned_words.main([]) == 0
    (tmp_path / "docs/page.md").write_text("Plain.\nIt begins anew.\n")
    (tmp_path / "tests/data.txt").write_text("It begins anew.\n")
    assert banned_words.main([]) == 1
    assert capsys.readouterr().err == "docs/page.md:2: 'anew'; fix: write again\n"
