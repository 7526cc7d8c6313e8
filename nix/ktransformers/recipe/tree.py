"""The Python half: the package without tests, sources and byte code, its dist-info, and two modules of ours."""

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from recipe import RecipeError, march, say

HERE = Path(__file__).resolve().parent.parent

# What a running engine reads below ktransformers/. The rest is C++ and CUDA source, tests and benchmarks.
KEPT_SUFFIXES = {".py", ".yaml", ".ini"}
DROPPED_FOLDERS = {"tests", "bench", "examples", "cuda"}

# Declared by upstream and never imported by it: build tools, and two packages of an earlier chat program.
NOT_NEEDED = {"langchain", "blessed", "build", "ninja", "wheel", "setuptools"}
# Imported by upstream and not declared.
UNDECLARED = ("httpx", "sqlalchemy", "pydantic", "triton", "PyYAML", "numpy", "tqdm")

WHEEL = "Wheel-Version: 1.0\nGenerator: leviathan\nRoot-Is-Purelib: false\nTag: cp311-cp311-linux_x86_64\n"


def copy_package(source: Path, out: Path) -> int:
    """Copy the package `ktransformers` into the site-packages folder `out`; returns the number of files."""
    copied = 0
    for file in sorted((source / "ktransformers").rglob("*")):
        relative = file.relative_to(source)
        inside = relative.parts[1:-1]
        if not file.is_file() or file.suffix not in KEPT_SUFFIXES or DROPPED_FOLDERS.intersection(inside):
            continue
        target = out / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        copied += 1
    return copied


def version(source: Path, cuda: str, torch: str) -> str:
    """The version with upstream's local part: CUDA's and torch's major and minor digits.

    Upstream's third word names the one CPU variant of the wheel; here there are several, so it is left out.
    """
    text = (source / "ktransformers" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__\s*=\s*"([^"]+)"$', text, re.MULTILINE)
    if found is None:
        raise RecipeError(f"{source}/ktransformers/__init__.py has no __version__: is --source what stage source made?")
    digits = ["".join(value.split(".")[:2]) for value in (cuda, torch)]
    return f"{found.group(1)}+cu{digits[0]}torch{digits[1]}"


def metadata(pkg_info: str, full_version: str) -> str:
    """The sdist's PKG-INFO as METADATA: our version, and only requirements that the package imports."""
    head, _, body = pkg_info.partition("\n\n")
    lines: list[str] = []
    for line in head.split("\n"):
        needed = re.match(r"Requires-Dist: ([A-Za-z0-9_.-]+)", line)
        if line.startswith("Version: "):
            lines.append(f"Version: {full_version}")
        elif needed is None or needed.group(1) not in NOT_NEEDED:
            lines.append(line)
    lines += [f"Requires-Dist: {name}" for name in UNDECLARED]
    return "\n".join(lines) + "\n\n" + body


def record(out: Path, files: Sequence[Path]) -> str:
    """RECORD's text: path, sha256 (URL-safe base64, no padding) and size of each file, as the wheel format has it."""
    rows = []
    for file in files:
        content = file.read_bytes()
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{file.relative_to(out)},sha256={digest},{len(content)}")
    return "\n".join(rows) + "\n"


def make(source: Path, entries: Sequence[str], cuda: str, torch: str, out: Path) -> str:
    """Write everything that is Python into the site-packages folder `out`.

    Args:
        source: the patched tree of `source.make`.
        entries: the -march entries that are built, best first: `cpuinfer_ext.py` tries them in this order.
        cuda: the toolkit's version, such as "12.8".
        torch: torch's version, such as "2.9.1".
        out: the folder, made if it is not there.

    Returns:
        The version that the dist-info carries.
    """
    copied = copy_package(source, out)
    shutil.copyfile(HERE / "python" / "cpuinfer_ext.py", out / "cpuinfer_ext.py")
    (out / "flash_attn").mkdir(exist_ok=True)
    shutil.copyfile(HERE / "flash_attn" / "__init__.py", out / "flash_attn" / "__init__.py")
    order = out / "ktransformers_ext" / "cpu" / "march.json"
    order.parent.mkdir(parents=True, exist_ok=True)
    order.write_text(json.dumps({entry: march.flags(entry) for entry in entries}, indent=1) + "\n", encoding="utf-8")

    full = version(source, cuda, torch)
    info = out / f"ktransformers-{full}.dist-info"
    info.mkdir()
    pkg_info = (source / "PKG-INFO").read_text(encoding="utf-8")
    (info / "METADATA").write_text(metadata(pkg_info, full), encoding="utf-8")
    (info / "WHEEL").write_text(WHEEL, encoding="utf-8")
    (info / "INSTALLER").write_text("leviathan\n", encoding="utf-8")
    (info / "top_level.txt").write_text("KTransformersOps\ncpuinfer_ext\nktransformers\n", encoding="utf-8")
    shutil.copyfile(source / "LICENSE", info / "LICENSE")
    own = [out / "cpuinfer_ext.py", order, *(out / "ktransformers").rglob("*"), *info.iterdir()]
    listed = record(out, sorted(path for path in own if path.is_file()))
    (info / "RECORD").write_text(listed + f"{info.name}/RECORD,,\n", encoding="utf-8")
    say(f"python: {copied} files of ktransformers {full}, march {' '.join(entries)}")
    return full
