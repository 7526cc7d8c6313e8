"""A header dump holds what the planner needs and comes back equal."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from leviathan_engine.errors import GgufError
from leviathan_engine.gguf import dump, read_model
from leviathan_engine.gguf.__main__ import main
from leviathan_engine.model.reference import q4_k_m

MakeGguf = Callable[..., Path]
KEYS = {"deepseek2.block_count": 2, "tokenizer.ggml.tokens": ["a", "\u0120b"], "tokenizer.ggml.pre": "deepseek-v3"}


def test_there_and_back(make_gguf: MakeGguf) -> None:
    model = read_model(make_gguf(keys=KEYS))
    back = dump.load(dump.dump(model, vocabulary=True))
    assert back.metadata == model.metadata
    assert back.tensors == model.tensors
    assert back.parts == tuple(replace(p, path=Path(p.path.name)) for p in model.parts)


def test_the_vocabulary_is_left_out_unless_asked_for(make_gguf: MakeGguf) -> None:
    model = read_model(make_gguf(keys=KEYS))
    small = dump.load(dump.dump(model)).metadata
    assert "tokenizer.ggml.tokens" not in small
    assert small["tokenizer.ggml.pre"] == "deepseek-v3"
    assert "tokenizer.ggml.tokens" in dump.load(dump.dump(model, vocabulary=True)).metadata


def test_the_671b_table_goes_through(tmp_path: Path) -> None:
    model = q4_k_m()
    path = tmp_path / "header.json"
    path.write_text(dump.dump(model), encoding="utf-8")
    assert path.stat().st_size < 100_000
    assert dump.read(path).tensors == model.tensors


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "other/1"}', "null", '{"format":"leviathan-gguf-header/1"}']
)
def test_what_is_no_dump(text: str) -> None:
    with pytest.raises(GgufError, match="my dump") as caught:
        dump.load(text, "my dump")
    assert "\n" not in caught.value.line()


def test_a_dump_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match="cannot read the header dump"):
        dump.read(tmp_path / "no.json")


def test_the_command(make_gguf: MakeGguf, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = make_gguf(keys=KEYS)
    assert main([str(path)]) == 0
    out = capsys.readouterr()
    assert json.loads(out.out)["format"] == dump.FORMAT
    assert out.err == ""
    assert main([str(tmp_path / "no")]) == 1
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.startswith("error: ")
    assert out.err.count("\n") == 1
