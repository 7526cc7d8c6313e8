"""How many bytes of a prompt's text one token can stand for, so that a hopeless text need not be tokenised first."""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any


@cache
def byte_alphabet() -> Mapping[str, int]:
    """Character → byte of byte-level BPE: GPT-2's table (`bytes_to_unicode`), in which no byte is a blank."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


# What cuts the text and takes nothing away from it; "Removed" is a Split's one behaviour that does.
CUTS = ("ByteLevel", "Split", "Digits")


def longest_token(tokenizer: Mapping[str, Any], alphabet: Iterable[str]) -> int | None:
    """The most bytes of text that a token of this `tokenizer.json` takes up; None where no bound is sure.

    `alphabet` are the 256 characters that stand for bytes in byte-level tokens. The bound is sure where every byte of
    the text becomes part of a token: byte-level BPE that knows all 256 bytes, without a normalizer, truncation, or
    added tokens that swallow the blanks around them. DeepSeek's is of that kind.
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
    # A character of a byte-level token is a byte of the text; an added token stands in the file as it is in the text.
    return max((*map(len, vocab), *(len(token["content"].encode()) for token in added))) if sure else None


def _only_cuts(steps: list[Mapping[str, Any]]) -> bool:
    known = all(step.get("type") in CUTS and step.get("behavior") != "Removed" for step in steps)
    return known and any(step["type"] == "ByteLevel" for step in steps)


def _steps(part: Any, name: str) -> list[Mapping[str, Any]]:
    """The steps of a `Sequence`, or the one that stands alone."""
    if part is None:
        return []
    part = _mapping(part)
    return [step for one in part.get(name) or [] for step in _steps(one, name)] if name in part else [part]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
