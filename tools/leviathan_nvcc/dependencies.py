"""Make rules: read what each clang pass wrote, merge them, write one.

clang writes ``target: prerequisite \\`` with blanks escaped by a backslash, ``#`` by a backslash and ``$`` doubled
(clang's DependencyFile.cpp). Device passes include headers that the host pass does not, so one pass is not enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_WORD = re.compile(r"(?:\\[ \t#]|\$\$|[^\s])+")


def prerequisites(rule: str) -> list[str]:
    """The prerequisites of the first rule of a dependency file, still quoted for make."""
    joined = rule.replace("\\\r\n", " ").replace("\\\n", " ")
    first = joined.split("\n", 1)[0]
    return _WORD.findall(first.partition(": ")[2])


def merge(rules: Iterable[str]) -> list[str]:
    """The prerequisites of several rules, each once, in the order of their first appearance."""
    return list(dict.fromkeys(word for rule in rules for word in prerequisites(rule)))


def render(targets: Sequence[str], words: Sequence[str], phony: bool) -> str:
    """A make rule, one prerequisite a line; with ``phony`` an empty rule for each header but the source."""
    lines = " \\\n  ".join([f"{' '.join(targets)}:", *words])
    empty = "".join(f"\n{word}:\n" for word in words[1:]) if phony else ""
    return f"{lines}\n{empty}"
