"""The file NOTICE, against the locks."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from leviathan_image.notice import debian, licence, python

ROOT = Path(__file__).resolve().parents[2]
NOT_ON_LINUX = {"colorama"}


def entries() -> set[str]:
    return set(re.findall(r"^  (\S+ \S+)", (ROOT / "NOTICE").read_text(encoding="utf-8"), re.MULTILINE))


def test_notice_names_every_package_of_the_image() -> None:
    """`make notice` writes it again after the locks have changed."""
    engine = python(tomllib.loads((ROOT / "nix/locks/engine/poetry.lock").read_text(encoding="utf-8")))
    wheels = {f"{name} {version}" for name, version in engine.items() if name not in NOT_ON_LINUX}
    system = set(debian(json.loads((ROOT / "nix/locks/debian.json").read_text(encoding="utf-8"))))
    assert (wheels | system) - entries() == set()
    assert {entry for entry in entries() - wheels - system if not entry.startswith("ktransformers ")} == set()


@pytest.mark.parametrize(
    ("metadata", "stated"),
    [
        ("License-Expression: MIT\nLicense: other\n", "MIT"),
        ("License: BSD\n", "BSD"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License\n", "MIT License"),
        ("Name: x\n", "not stated"),
    ],
)
def test_a_packages_licence(metadata: str, stated: str) -> None:
    assert licence(metadata) == stated
