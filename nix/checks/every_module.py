"""Imports every module of the deploy tool, and every module that any of them imports later, inside its functions.

python3 every_module.py: with the Python and PYTHONPATH of `nix run .#leviathan`; it fails where a package is missing.
"""

import ast
import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path

import leviathan


def modules() -> list[str]:
    """Every module of the tool. Importing `__main__` would run it."""
    found = [each.name for each in pkgutil.walk_packages(leviathan.__path__, "leviathan.")]
    return [name for name in found if not name.endswith(".__main__")]


def named(source: Path) -> Iterator[str]:
    """The modules that a file imports anywhere, by their absolute names."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def main() -> None:
    """Import all of them, and say how many there were."""
    ours = modules()
    for name in ours:
        importlib.import_module(name)
    # What the tool shares with the engine belongs to it; the rest of the engine wants PyTorch.
    loaded = {name: each for name, each in sys.modules.items() if name.startswith("leviathan")}
    later = sorted({name for each in loaded.values() if each.__file__ for name in named(Path(each.__file__))})
    for name in later:
        importlib.import_module(name)
    print(f"{len(ours)} modules of leviathan, and the {len(later)} that they import, are there")  # noqa: T201 - a check's result


if __name__ == "__main__":
    main()
