"""What the planner counts with is what the operators do; the operators cannot be imported where there is no torch."""

import ast
from pathlib import Path

from leviathan_engine.plan import vram
from leviathan_operators.cache import PAGE_TOKENS

OPERATORS = Path(__file__).resolve().parents[2] / "tools" / "leviathan_operators" / "operators"


def constant(module: str, name: str) -> int:
    """The number that a module's source gives a name."""
    tree = ast.parse((OPERATORS / module).read_text(encoding="utf-8"))
    values = [
        node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == name
        and isinstance(node.value, ast.Constant)
    ]
    assert len(values) == 1
    return int(values[0])  # type: ignore[arg-type]


def test_a_block_of_keys_is_as_long_as_the_planner_takes_it() -> None:
    assert constant("blocks.py", "KEY_BLOCK") == vram.KEY_BLOCK


def test_a_page_is_as_long_as_the_planner_takes_it() -> None:
    assert PAGE_TOKENS == vram.PAGE_TOKENS
