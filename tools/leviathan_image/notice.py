"""The file NOTICE: what the image redistributes, by package, with version and licence.

    PYTHONPATH=tools python3 -m leviathan_image.notice TREE...     # folders with dist-packages, such as .#python-other

Names and versions are those of the locks; a Python package's licence is the one that its own metadata states (core
metadata 2.4: License-Expression, else License, else the classifiers). Debian's packages carry theirs in the image.
"""

import json
import sys
import tomllib
from collections.abc import Iterable, Sequence
from email.parser import HeaderParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAD = """\
Leviathan
Copyright the Leviathan developers. Licensed under the Apache License, Version 2.0; see LICENSE.

The image `leviathan-image` redistributes the packages below, unchanged but for what nix/engine-prune.json leaves out.
Patches to KTransformers are in nix/ktransformers/patches. This file is written by: make notice
"""


def debian(lock: dict[str, object]) -> list[str]:
    """`name version` of each Debian package in the image, from nix/locks/debian.json."""
    groups, packages = lock["groups"], lock["packages"]
    assert isinstance(groups, dict)
    assert isinstance(packages, dict)
    return [f"{name} {packages[name]['version']}" for name in groups["image"]]


def python(lock: dict[str, object]) -> dict[str, str]:
    """Name to version of each Python package of the engine's main group, from nix/locks/engine/poetry.lock."""
    packages = lock["package"]
    assert isinstance(packages, list)
    return {each["name"]: each["version"] for each in packages if "main" in each.get("groups", ["main"])}


def licence(metadata: str) -> str:
    """What the text of a METADATA file states as licence; "not stated" where it does not."""
    headers = HeaderParser().parsestr(metadata)
    classifiers = [text for text in headers.get_all("Classifier", []) if text.startswith("License ::")]
    stated = headers.get("License-Expression") or headers.get("License", "").strip().partition("\n")[0]
    if stated and len(stated) <= 80 and stated.upper() != "UNKNOWN":
        return stated
    return classifiers[0].rpartition(":: ")[2] if classifiers else "not stated"


def licences(trees: Iterable[Path]) -> dict[str, str]:
    """Normalised package name to licence, of every dist-info folder below the trees."""
    found = {}
    for tree in trees:
        for path in sorted(tree.rglob("*.dist-info/METADATA")):
            text = path.read_text(encoding="utf-8", errors="replace")
            name = HeaderParser().parsestr(text, headersonly=True)["Name"]
            found[name.lower().replace("_", "-").replace(".", "-")] = licence(text)
    return found


def text(root: Path, stated: dict[str, str]) -> str:
    """The whole file. Errors: KeyError for a package of the lock whose licence is not among `stated`."""
    system = debian(json.loads((root / "nix/locks/debian.json").read_text(encoding="utf-8")))
    wheels = python(tomllib.loads((root / "nix/locks/engine/poetry.lock").read_text(encoding="utf-8")))
    source = json.loads((root / "nix/locks/sources.json").read_text(encoding="utf-8"))["ktransformers"]
    lines = [
        HEAD,
        "Built from source:",
        f"  ktransformers {source['version']} (Apache License 2.0; with llama.cpp, MIT, and pybind11, BSD-3-Clause)",
        "",
        "Python packages, from their wheels:",
        *(f"  {name} {version} ({stated[name]})" for name, version in wheels.items() if name in stated),
        "",
        "Debian packages (licences in the image: /usr/share/doc/PACKAGE/copyright):",
        *(f"  {entry}" for entry in system),
    ]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str]) -> int:
    """Writes NOTICE from the given trees."""
    (ROOT / "NOTICE").write_text(text(ROOT, licences(map(Path, argv))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
