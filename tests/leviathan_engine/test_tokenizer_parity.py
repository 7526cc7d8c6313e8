"""The tokenizer that is built from a GGUF's keys gives the ids of the model's own tokenizer, for V3, R1 and V3.1."""

import json
import random
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deepseek_templates import write_tokenizer
from tokenizers import Tokenizer

from leviathan_engine.model.tokenizer import CONTROL, NORMAL, UNUSED, USER_DEFINED, Vocabulary, tokenizer_json

# The number of texts that issue 18 asks for, and their number of characters.
TEXTS, LENGTH = 6344, 400
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz ABC.,;:'\"!?\n\t",
    "0123456789 ,.-+eE\n",
    "äöüßéèçñøåÄÖÜ αβγδε абвгд ",
    "中文字漢字かなカナ、。「」 ",
    "{}[]()<>=+-*/%&|^~#@\\`'\";:_ \r\n\tdef return",
    "😀👩\u200d👩\u200d👧🇩🇪\u0301\u200b\ufeff ﷽",
)


def vocabulary(own: dict[str, Any]) -> Vocabulary:
    """The keys that llama.cpp's converter writes for this tokenizer."""
    names = {index: token for token, index in own["model"]["vocab"].items()}
    kinds = dict.fromkeys(names, NORMAL)
    for token in own["added_tokens"]:
        names[token["id"]] = token["content"]
        kinds[token["id"]] = CONTROL if token["special"] else USER_DEFINED
    size = max(names) + 1
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in own["model"]["merges"]]
    return Vocabulary(
        tokens=[names.get(index, f"[PAD{index}]") for index in range(size)],
        types=[kinds.get(index, UNUSED) for index in range(size)],
        merges=merges,
        bos=0,
        eos=1,
        pad=1,
        add_bos=True,
        add_eos=False,
    )


def texts(added: list[str]) -> list[str]:
    """Random texts of several scripts, and special tokens between them."""
    chance = random.Random(1)
    out = []
    for _ in range(600):
        parts = ["".join(chance.choices(chance.choice(ALPHABETS), k=chance.randint(1, 40))) for _ in range(3)]
        out.append(chance.choice(["", *added]).join(parts))
    return out


@pytest.mark.parametrize("model", ["V3", "R1", "V3.1"])
def test_the_ids_are_those_of_the_models_own_tokenizer(model: str, tmp_path: Path) -> None:
    write_tokenizer(model, tmp_path)
    path = tmp_path / "tokenizer.json"
    own = json.loads(path.read_text(encoding="utf-8"))
    theirs = Tokenizer.from_file(str(path))
    ours = Tokenizer.from_str(json.dumps(tokenizer_json(vocabulary(own), model)))
    for text in texts([token["content"] for token in own["added_tokens"] if "place" not in token["content"]]):
        want = theirs.encode(text, add_special_tokens=False).ids
        assert ours.encode(text, add_special_tokens=False).ids == want, ascii(text)
        assert ours.encode(text).ids == [0, *want]
        assert ours.decode(want, skip_special_tokens=False) == theirs.decode(want, skip_special_tokens=False)


def sources() -> Iterator[str]:
    """Texts that people wrote: this repository's files and Python's standard library, in pieces."""
    folders = (Path(__file__).parents[2] / "tools", Path(__file__).parents[1], Path(sysconfig.get_path("stdlib")))
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            if "packages" in path.parent.name:
                continue
            text = path.read_text(encoding="utf-8", errors="replace")
            yield from (text[at : at + LENGTH] for at in range(0, len(text), LENGTH))


def test_the_ids_of_texts_that_people_wrote(tmp_path: Path) -> None:
    write_tokenizer("V3.1", tmp_path)
    path = tmp_path / "tokenizer.json"
    theirs = Tokenizer.from_file(str(path))
    own = json.loads(path.read_text(encoding="utf-8"))
    ours = Tokenizer.from_str(json.dumps(tokenizer_json(vocabulary(own), "V3.1")))
    many = [text for text, _ in zip(sources(), range(TEXTS), strict=False)]
    assert len(many) == TEXTS
    count = 0
    for at in range(0, TEXTS, 256):
        part = many[at : at + 256]
        want = theirs.encode_batch(part, add_special_tokens=False)
        for text, mine, yours in zip(part, ours.encode_batch(part, add_special_tokens=False), want, strict=True):
            assert mine.ids == yours.ids, ascii(text)
            count += len(mine.ids)
    assert count > 500_000
