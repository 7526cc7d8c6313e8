"""All texts of the tool's source, with the commands in them as a user would read them.

What an f-string or a template puts in is X, but for `kubectl`: KUBECTL stands for it with the site's context, and
`KUBECTL -n X` for it with a namespace, too.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from push_support import TOOLS

ROOT = TOOLS / "leviathan"
PLAIN, SPACED = "KUBECTL", "KUBECTL -n X"
#: What is put in → how it reads, where it is not the same in every file. The goldens show that it is so.
PUT_IN: dict[tuple[str, str], str] = {
    ("cluster/deletion.py", "shown"): "X -n X",
    ("cluster/api_errors.py", "_space(asked)"): " -n X",
    ("model/download_wait.py", "self.kubectl"): SPACED,
    ("preflight/access.py", "space"): " -n X",
    ("preflight/namespace.py", "kubectl"): SPACED,
    ("rollout/diagnose/node.py", "where"): "node/X",
}


@dataclass(frozen=True)
class Text:
    """One text: its file below tools/leviathan, and whether it is a docstring."""

    file: str
    text: str
    doc: bool


def texts() -> Iterator[Text]:
    """Each text once, an f-string as a whole."""
    for path in sorted(ROOT.rglob("*.py")):
        yield from _texts(path)


def _texts(path: Path) -> Iterator[Text]:
    file = path.relative_to(ROOT).as_posix()
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    docs = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    parts = {id(each) for node in nodes if isinstance(node, ast.JoinedStr) for each in node.values}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            yield Text(file, _template("".join(_part(file, each) for each in node.values)), False)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield Text(file, _template(node.value), id(node) in docs)


def _part(file: str, each: ast.expr) -> str:
    if isinstance(each, ast.Constant):
        return str(each.value)
    assert isinstance(each, ast.FormattedValue)
    source = ast.unparse(each.value)
    if (file, source) in PUT_IN:
        return PUT_IN[file, source]
    if source == "commands.cluster":
        return PLAIN
    if source.split(".")[-1] == "kubectl":
        return SPACED if source == "commands.kubectl" else PLAIN
    return "X"


def _template(text: str) -> str:
    """The text of a template of `diagnose.cases`; its names are those of `diagnose.finding.Commands`."""
    return re.sub(r"{kubectl}", SPACED, re.sub(r"{cluster}", PLAIN, text))
