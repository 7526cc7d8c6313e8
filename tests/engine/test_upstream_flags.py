"""The launcher's lists of KTransformers' flags are those of its own parser, of this version."""

import argparse
import os
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

from leviathan_engine.launcher.upstream_flags import EFFECTIVE, IDLE, KNOWN, OWN, SAMPLING

REQUIRED = os.environ.get("LEVIATHAN_ENGINE") == "required"
args = import_module("ktransformers.server.args") if REQUIRED else pytest.importorskip("ktransformers.server.args")


class Defaults(SimpleNamespace):
    """A configuration in which every value is None."""

    def __getattr__(self, name: str) -> Any:
        return None


def test_every_flag_is_in_one_list(monkeypatch: pytest.MonkeyPatch) -> None:
    parser: list[argparse.ArgumentParser] = []

    def stop(self: argparse.ArgumentParser, *_words: object) -> None:
        parser.append(self)
        raise InterruptedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    with pytest.raises(InterruptedError):
        args.ArgumentParser(Defaults()).parse_args()
    theirs = {flag for action in parser[0]._actions for flag in action.option_strings}
    assert theirs - {"-h", "--help"} == KNOWN
    assert len(KNOWN) == len(OWN) + len(EFFECTIVE) + len(SAMPLING) + len(IDLE)
