# ruff: noqa: RUF001, E501 - the sample is text of many scripts, and the reference stands as published
r"""The tokenizer out of a GGUF header gives the ids of the tokenizer that the header was made from.

The reference is trained here with the `tokenizers` package's own trainer behind the pre-tokenizer of DeepSeek-V3's
published `tokenizer.json`, then put into GGUF keys as llama.cpp's converter does, written and read as a file.
"""

import json
import random
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import (  # type: ignore[import-untyped]
    AddedToken,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    trainers,
)

from leviathan_engine.errors import GgufError
from leviathan_engine.gguf import Value, read_header
from leviathan_engine.model.tokenizer import CONTROL, NORMAL, UNUSED, USER_DEFINED, read_vocabulary, tokenizer_json

MakeGguf = Callable[..., Path]
# Copied from DeepSeek-V3's tokenizer.json, byte for byte.
PRE_TOKENIZER = r"""{"type": "Sequence", "pretokenizers": [
{"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}"}, "behavior": "Isolated", "invert": false},
{"type": "Split", "pattern": {"Regex": "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"}, "behavior": "Isolated", "invert": false},
{"type": "Split", "pattern": {"Regex": "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": false},
{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]}"""
BOS, EOS, PAD = (
    "<\uff5cbegin\u2581of\u2581sentence\uff5c>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "<\uff5c\u2581pad\u2581\uff5c>",
)
USER, ASSISTANT, TOOL = "<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>", "<\uff5ctool\u2581calls\u2581begin\uff5c>"
SPECIAL = (BOS, EOS, PAD)
SAMPLE = """\
The quick brown fox didn't jump over 13 lazy dogs; it cost $1,234.56 (about 99%) -- really?! I'll see, we've said.
Grüße aus Köln, naïve café, Ærøskøbing, İstanbul, ŁÓDŹ. Пример текста: съешь ещё этих мягких булок 2024 года.
Ελληνικά: Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. עברית: דג סקרן שט בים מאוכזב. العربية: نص حكيم له سر قاطع ١٢٣٤.
हिन्दी: ऋषियों को सताने वाले दुष्ट राक्षसों का १२३। ไทย: เป็นมนุษย์สุดประเสริฐ ๑๒๓. தமிழ், বাংলা, ქართული, Հայերեն, አማርኛ, ខ្មែរ.
中文：我能吞下玻璃而不伤身体，一共有12345個字。日本語：いろはにほへと チリヌルヲ、漢字とかなABCカナabc漢。한국어: 키스의 고유조건은 입술끼리. 㐀𠀀𪚥
def f(x):\n\treturn {"a": [x**2, ~x, x<<3], 'b': f"{x!r:>10}"}  # comment\n\n\nclass _A(object):\r\n    pass\r\n
https://example.org/a_b-c?d=%20e&f=#g  foo@bar.baz  C:\\Windows\\x  <div class="x">&nbsp;</div>  a||b&&c != d::e->f
👍🏽 👩‍👩‍👧‍👦 🇩🇪 🏳️‍🌈 ☃ ∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, αβγ → Ω ½ ² Ⅻ ㊿ e\u0301 \u200bzero\u200d \ufeffbom \xa0nbsp\u3000wide  \t \v tabs
     trailing blanks   \n  \n\n \t\n"""


@pytest.fixture(scope="module")
def reference() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _reference_pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([SAMPLE] * 3, trainer)
    tokenizer.add_tokens([AddedToken(t, normalized=False, special=False) for t in (USER, ASSISTANT, TOOL, "<think>")])
    return tokenizer


def _reference_pre_tokenizer() -> Any:
    shell = Tokenizer(models.BPE())
    document = json.loads(shell.to_str()) | {"pre_tokenizer": json.loads(PRE_TOKENIZER)}
    return Tokenizer.from_str(json.dumps(document)).pre_tokenizer


@pytest.fixture(scope="module")
def keys(reference: Tokenizer) -> dict[str, Value]:
    """What llama.cpp's converter writes: padded to the embedding's rows, special-looking tokens as CONTROL."""
    model = json.loads(reference.to_str())["model"]
    tokens = [f"[PAD{n}]" for n in range(1024)]
    types = [UNUSED] * 1024
    for token, index in reference.get_vocab(with_added_tokens=True).items():
        tokens[index] = token
        looks_special = token.startswith("<\uff5c") and token.endswith("\uff5c>")
        types[index] = CONTROL if looks_special else USER_DEFINED if token == "<think>" else NORMAL
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    assert len(merges) > 500
    ids = {f"tokenizer.ggml.{n}_token_id": tokens.index(t) for n, t in (("bos", BOS), ("eos", EOS), ("padding", PAD))}
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "deepseek-v3",
        "tokenizer.ggml.tokens": list(tokens),
        "tokenizer.ggml.token_type": list(types),
        "tokenizer.ggml.merges": list(merges),
        "tokenizer.ggml.add_bos_token": True,
        **ids,
    }


def _built(keys: dict[str, Value]) -> Tokenizer:
    return Tokenizer.from_str(json.dumps(tokenizer_json(read_vocabulary(keys, "test"), "test")))


def _texts() -> list[str]:
    rng = random.Random(3)
    points = [chr(c) for c in range(1, 0x20000) if unicodedata.category(chr(c)) not in ("Cs", "Cn", "Co")]
    pieces = [
        USER,
        ASSISTANT,
        TOOL,
        BOS,
        EOS,
        "<think>",
        " ",
        "  ",
        "\n",
        "\r\n",
        "word",
        " Word",
        "'ll",
        "1234567",
        "漢字",
    ]
    return [
        "",
        SAMPLE,
        *SAMPLE.splitlines(keepends=True),
        *("".join(rng.choices(points, k=rng.randrange(1, 60))) for _ in range(400)),
        *("".join(rng.choices(pieces + points[:200], k=20)) for _ in range(400)),
    ]


def test_the_pre_tokenizer_is_deepseek_v3s(keys: dict[str, Value]) -> None:
    assert tokenizer_json(read_vocabulary(keys, "t"), "t")["pre_tokenizer"] == json.loads(PRE_TOKENIZER)


def test_same_ids_as_the_reference_through_a_file(
    reference: Tokenizer, keys: dict[str, Value], make_gguf: MakeGguf
) -> None:
    built = _built(dict(read_header(make_gguf(keys=keys)).metadata))
    bos = keys["tokenizer.ggml.bos_token_id"]
    for text in _texts():
        want = reference.encode(text, add_special_tokens=False)
        got = built.encode(text, add_special_tokens=False)
        assert got.ids == want.ids, text
        assert got.tokens == want.tokens
        assert built.encode(text).ids == [bos, *want.ids]
        assert built.decode(got.ids, skip_special_tokens=False) == reference.decode(want.ids, skip_special_tokens=False)


def test_without_any_one_split_the_sample_falls_apart_otherwise(reference: Tokenizer, keys: dict[str, Value]) -> None:
    """The sample tells the splits apart: without any one of them it falls into other pieces."""
    want = reference.pre_tokenizer.pre_tokenize_str(SAMPLE)
    whole = tokenizer_json(read_vocabulary(keys, "t"), "t")
    assert Tokenizer.from_str(json.dumps(whole)).pre_tokenizer.pre_tokenize_str(SAMPLE) == want
    for drop in range(4):
        document = json.loads(json.dumps(whole))
        del document["pre_tokenizer"]["pretokenizers"][drop]
        other = Tokenizer.from_str(json.dumps(document)).pre_tokenizer.pre_tokenize_str(SAMPLE)
        assert other != want, drop


def test_answers_leave_special_tokens_out_but_keep_tool_calls(keys: dict[str, Value]) -> None:
    built = _built(keys)
    ids = built.encode(f"{USER}hi{TOOL}{EOS}").ids
    assert built.decode(ids, skip_special_tokens=True) == f"hi{TOOL}"
    assert all(built.token_to_id(f"[PAD{n}]") is None for n in range(1024))


def test_without_first_and_with_last_token(keys: dict[str, Value]) -> None:
    built = _built(keys | {"tokenizer.ggml.add_bos_token": False, "tokenizer.ggml.add_eos_token": True})
    bare = built.encode("hi", add_special_tokens=False).ids
    assert built.encode("hi").ids == [*bare, keys["tokenizer.ggml.eos_token_id"]]
    missing = {k: v for k, v in keys.items() if "add_bos" not in k and "padding" not in k}
    vocabulary = read_vocabulary(missing, "t")
    assert (vocabulary.add_bos, vocabulary.pad) == (True, keys["tokenizer.ggml.eos_token_id"])


BAD: list[tuple[dict[str, Value | None], str]] = [
    ({"model": "llama"}, "got 'llama' with 'deepseek-v3'"),
    ({"pre": "deepseek-llm"}, "expected the tokenizer 'gpt2' with the pre-tokenizer 'deepseek-v3'"),
    ({"pre": None}, "got 'gpt2' with 'None'"),
    ({"tokens": None}, "tokenizer.ggml.tokens is missing, or is not a list of strings"),
    ({"merges": []}, "tokenizer.ggml.merges is missing"),
    ({"token_type": [1, 2]}, "a type for each of 1024 tokens, got 2 types"),
    ({"eos_token_id": 5000}, "tokenizer.ggml.eos_token_id: expected an integer below 1024, got '5000'"),
    ({"bos_token_id": None}, "tokenizer.ggml.bos_token_id: expected an integer below 1024, got 'None'"),
    ({"merges": ["zz qq"]}, "the merge 'zz qq' has a token that is not in the vocabulary"),
    ({"merges": ["nogap"]}, "the merge 'nogap' has a token that is not in the vocabulary"),
]


@pytest.mark.parametrize(("change", "text"), BAD)
def test_a_bad_vocabulary_is_one_line(keys: dict[str, Value], change: dict[str, Value | None], text: str) -> None:
    bad = dict(keys)
    for name, value in change.items():
        bad.pop(f"tokenizer.ggml.{name}")
        if value is not None:
            bad[f"tokenizer.ggml.{name}"] = value
    with pytest.raises(GgufError, match=text) as caught:
        _built(bad)
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize(("index", "text"), [(9, "has the ids 8 and 9"), (-1, "token 8 is not UTF-8")])
def test_a_token_twice_or_of_broken_bytes(keys: dict[str, Value], index: int, text: str) -> None:
    tokens = keys["tokenizer.ggml.tokens"]
    assert isinstance(tokens, list)
    spoiled = list(tokens)
    spoiled[8] = tokens[index] if index > 0 else "\udcff"
    with pytest.raises(GgufError, match=text):
        _built(keys | {"tokenizer.ggml.tokens": spoiled})
