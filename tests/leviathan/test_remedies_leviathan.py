"""Every `leviathan ...` that the tool tells its user to run: the command, its options and the site's keys exist."""

import importlib
import re

import pytest
from source_texts import texts

from leviathan.cli.main import COMMANDS
from leviathan.site.load import SPECS

HINT = re.compile(r"leviathan ([a-z]+)((?: +--?[a-z][\w-]*(?:[ =][^ -][^ ;,)]*)?)*)")
KEYS = {spec.path for spec in SPECS} | {"section.key"}


def wrong(text: str) -> list[str]:
    """What a text names that does not exist."""
    found = [key for key in re.findall(r"--set ([a-z_]+\.[a-z_]+)", text) if key not in KEYS]
    for hint in HINT.finditer(text):
        options = re.findall(r"(?<= )--?[a-z][\w-]*", hint[2])
        if hint[1] not in COMMANDS:  # prose, unless options follow
            found += [hint[0]] if options else []
            continue
        command = importlib.import_module(f"leviathan.commands.{hint[1]}").command
        known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"-h", "--help"}
        found += [f"{hint[1]} {option}" for option in options if option not in known]
    return found


def test_every_hint_can_be_run() -> None:
    hints = [hint[1] for each in texts() for hint in HINT.finditer(each.text) if hint[1] in COMMANDS]
    assert len(hints) > 100
    assert [found for each in texts() for found in wrong(each.text)] == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("leviathan deploy --fro apply", "deploy --fro"),
        ("leviathan redeploy --from apply", "leviathan redeploy --from apply"),
        ("--set model.idle=3", "model.idle"),
    ],
)
def test_what_does_not_exist_is_found(text: str, name: str) -> None:
    """The positive control."""
    assert wrong(text) == [name]
