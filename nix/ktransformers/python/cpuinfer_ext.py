"""Loads the best build of KTransformers' CPU extension that this CPU can run, and becomes it.

The image carries one build of `cpuinfer_ext` for each -march entry, because the kernels are chosen when they are
compiled: the wrong build dies with SIGILL. `import cpuinfer_ext` reads the CPU's flags from /proc/cpuinfo, takes the
first build whose flags are all there, and puts it in this module's place. LEVIATHAN_MARCH names one build instead.
"""

import importlib.machinery
import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

BUILDS = Path(__file__).resolve().parent / "ktransformers_ext" / "cpu"
FILE = "cpuinfer_ext.cpython-311-x86_64-linux-gnu.so"


def cpu_flags(cpuinfo: str) -> frozenset[str]:
    """The flags of the first CPU in the text of /proc/cpuinfo; all CPUs of one x86 system have the same."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


def choose(builds: Mapping[str, Sequence[str]], have: frozenset[str], forced: str = "") -> str:
    """Name the build to load.

    Args:
        builds: the flags that each build needs, best build first.
        have: the CPU's flags.
        forced: the one build to take, or "" for the best that fits.

    Raises:
        ImportError: no build fits, or the forced one does not; the text names the flags that the CPU lacks.
    """
    if forced and forced not in builds:
        raise ImportError(f"LEVIATHAN_MARCH={forced}: this image has {', '.join(builds)}: name one, or unset it")
    lacking: dict[str, list[str]] = {}
    for name in [forced] if forced else builds:
        missing = sorted(set(builds[name]) - have)
        if not missing:
            return name
        lacking[name] = missing
    reasons = "; ".join(f"{name} needs {' '.join(missing)}" for name, missing in lacking.items())
    remedy = "unset LEVIATHAN_MARCH" if forced else "build the image with a march entry that fits (nix/settings.nix)"
    raise ImportError(f"cpuinfer_ext: this CPU can run no build of it ({reasons}, which /proc/cpuinfo lacks): {remedy}")


def load(name: str) -> ModuleType:
    """Load the build for -march entry `name` as the module `cpuinfer_ext`."""
    path = BUILDS / name / FILE
    if not path.is_file():
        raise ImportError(f"cpuinfer_ext: {path} is missing although march.json lists {name}: the image is incomplete")
    loader = importlib.machinery.ExtensionFileLoader("cpuinfer_ext", str(path))
    spec = importlib.util.spec_from_file_location("cpuinfer_ext", path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["cpuinfer_ext"] = module
    loader.exec_module(module)
    return module


if __name__ == "cpuinfer_ext":
    _builds = json.loads((BUILDS / "march.json").read_text(encoding="utf-8"))
    _have = cpu_flags(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    _march = choose(_builds, _have, os.environ.get("LEVIATHAN_MARCH", ""))
    load(_march).march = _march  # type: ignore[attr-defined]
