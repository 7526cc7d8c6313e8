"""Where a command line wants its result, read from its words alone: for when it is not, or cannot be, parsed."""

from collections.abc import Iterable, Sequence


def options(argv: Iterable[str]) -> list[str]:
    """The words before `--`."""
    found = []
    for word in argv:
        if word == "--":
            break
        found.append(word)
    return found


def result_file(argv: Sequence[str]) -> str:
    """The value of the last `--result-file`; empty when there is none."""
    found, words = "", iter(options(argv))
    for word in words:
        name, separator, value = word.partition("=")
        if name == "--result-file":
            found = value if separator else next(words, "")
    return found


def as_json(argv: Sequence[str]) -> bool:
    """Whether `--json` is among the options."""
    return "--json" in options(argv)
