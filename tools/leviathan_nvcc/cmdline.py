"""From the words of a command line to settings: options in their order, and input files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from leviathan_nvcc.errors import NvccError
from leviathan_nvcc.option import Effect, Kind, Option
from leviathan_nvcc.options import ATTACHED, BY_NAME

_DEPTH = 16
FORWARD = ("forward-unknown-to-host-compiler", "forward-unknown-to-host-linker", "forward-unknown-opts")
_BOOLS = {"true": "true", "false": "false", "1": "true", "0": "false", "on": "true", "off": "false"}


@dataclass(frozen=True)
class CommandLine:
    """What the command line says, before it is given a meaning.

    Arguments:
        settings: (key of the option, value) in order; a flag's value is "".
        inputs: the input files.
        unknown: unknown options, filled only under one of the ``-forward-unknown-…`` options.
    """

    settings: tuple[tuple[str, str], ...]
    inputs: tuple[str, ...]
    unknown: tuple[str, ...]


def split_words(text: str) -> tuple[str, ...]:
    """Splits a list value at commas and blanks outside quotes, and removes the quotes.

    ``-O2,'-DX=a b'`` gives ``-O2`` and ``-DX=a b``.
    """
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = ", \t\n", True, ""
    try:
        return tuple(lexer)
    except ValueError as error:
        raise NvccError(f"'{text}': {error}; close the quotes") from None


def expand(words: Sequence[str], depth: int = 0) -> Iterator[str]:
    """Replaces ``@FILE`` and ``--options-file FILE[,FILE]`` by the words of those files (shell quoting, # comments)."""
    if depth > _DEPTH:
        raise NvccError(f"options files call each other more than {_DEPTH} deep; remove the loop")
    rest = iter(words)
    for word in rest:
        name, equals, value = word.lstrip("-").partition("=")
        if word.startswith("@") and len(word) > 1:
            files = word[1:]
        elif word.startswith("-") and name in ("options-file", "optf"):
            files = value if equals else _next(rest, word)
        else:
            yield word
            continue
        for file in files.split(","):
            yield from expand(_read(file), depth + 1)


def _read(file: str) -> list[str]:
    try:
        return shlex.split(Path(file).read_text(), comments=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise NvccError(f"Could not read options file '{file}': {reason}") from None


def _next(rest: Iterator[str], word: str) -> str:
    value = next(rest, None)
    if value is None:
        raise NvccError(f"Argument expected after '{word}'")
    return value


def with_environment(words: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Adds ``NVCC_PREPEND_FLAGS`` before and ``NVCC_APPEND_FLAGS`` after the words, as nvcc does."""
    before, after = (shlex.split(environment.get(f"NVCC_{place}_FLAGS", "")) for place in ("PREPEND", "APPEND"))
    return [*before, *words, *after]


def parse(words: Sequence[str]) -> CommandLine:
    """Reads a command line (without the program's name).

    Errors:
        NvccError: an unknown or refused option, a value missing or of the wrong form.
    """
    flat = list(expand(words))
    forward = any(word.lstrip("-") in FORWARD for word in flat if word.startswith("-"))
    settings: list[tuple[str, str]] = []
    inputs: list[str] = []
    unknown: list[str] = []
    rest = iter(flat)
    for word in rest:
        if not word.startswith("-"):
            inputs.append(word)
            continue
        found = _find(word)
        if found is not None:
            settings += _settings(*found, word, rest)
        elif forward:
            unknown.append(word)
        else:
            raise NvccError(f"Unknown option '{word}'{_hint(word)}")
    return CommandLine(tuple(settings), tuple(inputs), tuple(unknown))


def _find(word: str) -> tuple[Option, str | None] | None:
    """The option of a word and the value that stands in the word itself."""
    bare = word[2:] if word.startswith("--") else word[1:]
    name, equals, value = bare.partition("=")
    if name in BY_NAME:
        return BY_NAME[name], value if equals else None
    if not word.startswith("--") and len(bare) > 1 and re.fullmatch(ATTACHED.get(bare[0], r"(?!)"), bare[1:], re.S):
        return BY_NAME[bare[0]], bare[1:]
    return None


def _settings(option: Option, value: str | None, word: str, rest: Iterator[str]) -> Iterator[tuple[str, str]]:
    if option.kind is Kind.FLAG:
        if value is not None:
            raise NvccError(f"Option '{option.title}' takes no value, got '{word}'")
        value = ""
    elif value is None:
        value = _next(rest, word)
    if option.effect is Effect.REFUSED:
        raise NvccError(f"Option '{option.title}' is not supported: {option.note}")
    if option.kind is Kind.WORDS:
        plain = value.translate(str.maketrans("[]", "  ")) if option.key == "gpu-code" else value
        yield from ((option.key, item) for item in split_words(plain))
    elif option.kind is Kind.BOOL and value not in _BOOLS:
        raise NvccError(f"'{value}' is not a value of '{option.title}': true or false")
    else:
        yield option.key, _BOOLS[value] if option.kind is Kind.BOOL else value


def _hint(word: str) -> str:
    name = word.lstrip("-").partition("=")[0]
    near = get_close_matches(name, BY_NAME, n=1, cutoff=0.6)
    if near:
        return f"; did you mean '-{near[0]}'?"
    return "; give an option of the host compiler as -Xcompiler OPTION, of the linker as -Xlinker OPTION"
