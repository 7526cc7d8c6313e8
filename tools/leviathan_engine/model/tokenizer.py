"""Makes a Hugging Face `tokenizer.json` and `tokenizer_config.json` from a GGUF header's `tokenizer.ggml.*` keys.

The pre-tokenizer is DeepSeek-V3's: its `tokenizer.json` and llama.cpp (`LLAMA_VOCAB_PRE_TYPE_DEEPSEEK3_LLM`) have the
same three regular expressions, which the header only names as "deepseek-v3". Building the files only needs the standard
library; the engine reads them with `tokenizers` 0.19.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from leviathan_engine.errors import GgufError
from leviathan_engine.gguf import Value

PRE_TYPE = "deepseek-v3"
# Up to three digits; runs of CJK ideographs, hiragana and katakana; words, punctuation, line breaks and white space.
SPLITS = (
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^"""
    "\r\n"
    r"""\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+["""
    "\r\n"
    r"""]*|\s*["""
    "\r\n"
    r"""]+|\s+(?!\S)|\s+""",
)
# llama.cpp's token types.
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
CONVERT = "convert the model again with a current llama.cpp"


@dataclass(frozen=True)
class Vocabulary:
    """The checked `tokenizer.ggml.*` keys. Token ids are indices of `tokens`."""

    tokens: list[str]
    types: list[int]
    merges: list[str]
    bos: int
    eos: int
    pad: int
    add_bos: bool
    add_eos: bool


def read_vocabulary(metadata: Mapping[str, Value], where: str) -> Vocabulary:
    """Returns the vocabulary in `metadata`; `where` is for messages.

    Errors: GgufError for another kind of tokenizer, and for lists that are missing, have the wrong type, or contradict
    each other.
    """

    def key(name: str) -> Value | None:
        return metadata.get(f"tokenizer.ggml.{name}")

    if (key("model"), key("pre")) != ("gpt2", PRE_TYPE):
        raise GgufError(
            f"{where}: expected the tokenizer 'gpt2' with the pre-tokenizer {PRE_TYPE!r},"
            f" got {str(key('model'))[:40]!r} with {str(key('pre'))[:40]!r}",
            CONVERT,
        )
    tokens, types, merges = (
        _list(metadata, n, k, where) for n, k in (("tokens", str), ("token_type", int), ("merges", str))
    )
    if len(types) != len(tokens):
        raise GgufError(f"{where}: expected a type for each of {len(tokens)} tokens, got {len(types)} types", CONVERT)
    eos = _id(key("eos_token_id"), len(tokens), "eos", where)
    # DeepSeek-V3's own configuration adds the first token, but not the last.
    return Vocabulary(
        tokens=tokens,
        types=types,
        merges=merges,
        bos=_id(key("bos_token_id"), len(tokens), "bos", where),
        eos=eos,
        pad=_id(key("padding_token_id") if key("padding_token_id") is not None else eos, len(tokens), "padding", where),
        add_bos=key("add_bos_token") is not False,
        add_eos=key("add_eos_token") is True,
    )


def tokenizer_json(vocabulary: Vocabulary, where: str) -> dict[str, Any]:
    """Returns the contents of `tokenizer.json`. Errors: GgufError for duplicate tokens, or merges of unknown tokens.

    Leaves out unused ids such as "[PAD128815]", as the model's own file does.
    """
    vocab: dict[str, int] = {}
    for index, (token, kind) in enumerate(zip(vocabulary.tokens, vocabulary.types, strict=True)):
        if kind == UNUSED:
            continue
        if not token.isascii() and any("\ud800" <= c <= "\udfff" for c in token):
            raise GgufError(f"{where}: token {index} is not UTF-8", CONVERT)
        if vocab.setdefault(token, index) != index:
            raise GgufError(f"{where}: token {token[:40]!r} has the ids {vocab[token]} and {index}", CONVERT)
    for merge in vocabulary.merges:
        left, blank, right = merge.partition(" ")
        if not (blank and left in vocab and right in vocab and left + right in vocab):
            raise GgufError(f"{where}: the merge {merge[:40]!r} has a token that is not in the vocabulary", CONVERT)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added(vocabulary),
        "normalizer": {"type": "Sequence", "normalizers": []},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*map(_split, SPLITS), _byte_level(prefix=False)]},
        "post_processor": _post_processor(vocabulary),
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": vocab,
            "merges": vocabulary.merges,
        },
    }


def tokenizer_config(vocabulary: Vocabulary, chat_template: str, max_length: int) -> dict[str, Any]:
    """Returns the contents of `tokenizer_config.json`; `max_length` in tokens."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": vocabulary.tokens[vocabulary.bos],
        "eos_token": vocabulary.tokens[vocabulary.eos],
        "pad_token": vocabulary.tokens[vocabulary.pad],
        "add_bos_token": vocabulary.add_bos,
        "add_eos_token": vocabulary.add_eos,
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_length,
        "chat_template": chat_template,
    }


def _added(vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """Returns the added tokens, which are matched in the text before it is split.

    DeepSeek marks its tool-call tokens as not special, so that decoding keeps them; llama.cpp calls them CONTROL.
    """
    return [
        {
            "id": index,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": kind == CONTROL and "tool\u2581" not in token,
        }
        for index, (token, kind) in enumerate(zip(vocabulary.tokens, vocabulary.types, strict=True))
        if kind in (CONTROL, USER_DEFINED, UNKNOWN)
    ]


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _byte_level(*, prefix: bool) -> dict[str, Any]:
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": False}


def _post_processor(vocabulary: Vocabulary) -> dict[str, Any]:
    """Returns the post-processor: byte offsets, and the first and last token if the model adds them."""
    first = [vocabulary.bos] if vocabulary.add_bos else []
    last = [vocabulary.eos] if vocabulary.add_eos else []

    def piece(index: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": vocabulary.tokens[index], "type_id": 0}}

    def text(name: str) -> list[dict[str, Any]]:
        return [*map(piece, first), {"Sequence": {"id": name, "type_id": 0}}, *map(piece, last)]

    names = {vocabulary.tokens[i]: i for i in first + last}
    template = {
        "type": "TemplateProcessing",
        "single": text("A"),
        "pair": text("A") + text("B"),
        "special_tokens": {n: {"id": n, "ids": [i], "tokens": [n]} for n, i in names.items()},
    }
    return {"type": "Sequence", "processors": [_byte_level(prefix=True) | {"trim_offsets": False}, template]}


def _list(metadata: Mapping[str, Value], name: str, kind: type, where: str) -> list[Any]:
    value = metadata.get(f"tokenizer.ggml.{name}")
    if not isinstance(value, list) or not value or any(type(item) is not kind for item in value):
        what = {str: "strings", int: "integers"}.get(kind, kind.__name__)
        raise GgufError(f"{where}: tokenizer.ggml.{name} is missing, or is not a list of {what}", CONVERT)
    return value


def _id(value: Value | None, count: int, name: str, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        raise GgufError(
            f"{where}: tokenizer.ggml.{name}_token_id: expected an integer below {count}, got {str(value)[:20]!r}",
            CONVERT,
        )
    return value
