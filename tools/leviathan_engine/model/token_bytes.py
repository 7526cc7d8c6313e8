"""Bounds the number of text bytes per token, so that a text that is much too long is refused without tokenising it."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any


@cache
def byte_alphabet() -> Mapping[str, int]:
    """Returns character → byte of byte-level BPE: GPT-2's table (`bytes_to_unicode`), without white space."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


# Steps that split the text without removing any of it; the behaviour "Removed" of a Split removes some.
CUTS = ("ByteLevel", "Split", "Digits")


def longest_token(tokenizer: Mapping[str, Any], alphabet: Iterable[str]) -> int | None:
    """Returns the maximum number of text bytes of a token in this `tokenizer.json`; None if there is no bound.

    `alphabet` are the 256 characters that represent bytes in byte-level tokens. There is a bound if every byte of the
    text becomes part of a token: byte-level BPE that knows all 256 bytes, without a normalizer, truncation, or added
    tokens that remove the white space around them. DeepSeek's tokenizer has one.
    """
    model = _mapping(tokenizer.get("model"))
    vocab = _mapping(model.get("vocab"))
    added = tokenizer.get("added_tokens") or []
    sure = (
        model.get("type") == "BPE"
        and not _steps(tokenizer.get("normalizer"), "normalizers")
        and tokenizer.get("truncation") is None
        and _only_cuts(_steps(tokenizer.get("pre_tokenizer"), "pretokenizers"))
        and not any(token.get("lstrip") or token.get("rstrip") for token in added)
        and all(byte in vocab for byte in alphabet)
    )
    # A character of a byte-level token is a byte of the text; added tokens are in the file as they are in the text.
    return max((*map(len, vocab), *(len(token["content"].encode()) for token in added))) if sure else None


def _only_cuts(steps: list[Mapping[str, Any]]) -> bool:
    known = all(step.get("type") in CUTS and step.get("behavior") != "Removed" for step in steps)
    return known and any(step["type"] == "ByteLevel" for step in steps)


def _steps(part: Any, name: str) -> list[Mapping[str, Any]]:
    """Returns the steps of a `Sequence`, or the single step."""
    if part is None:
        return []
    part = _mapping(part)
    return [step for one in part.get(name) or [] for step in _steps(one, name)] if name in part else [part]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
