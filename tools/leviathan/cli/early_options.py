"""Finds --json and --result-file in a command line that has not been parsed, or cannot be."""

from collections.abc import Iterable, Sequence


def options(argv: Iterable[str]) -> list[str]:
    """The arguments before `--`."""
    found = []
    for word in argv:
        if word == "--":
            break
        found.append(word)
    return found


def result_file(argv: Sequence[str]) -> str:
    """The value of the last `--result-file`; empty if there is none."""
    found, words = "", iter(options(argv))
    for word in words:
        name, separator, value = word.partition("=")
        if name == "--result-file":
            found = value if separator else next(words, "")
    return found


def as_json(argv: Sequence[str]) -> bool:
    """Whether `--json` is among the options."""
    return "--json" in options(argv)
