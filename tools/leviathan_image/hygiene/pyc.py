"""Rule about bytecode: a .pyc is bound to its source by hash, unchecked, or it is not there.

Format: PEP 552. Bytes 0-3 are the interpreter's magic, 4-7 flags (bit 0: by hash, bit 1: check the source at import),
8-15 the source's hash, or its time and size.
"""

import importlib.util
import struct
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from leviathan_image.findings import Finding
from leviathan_image.hygiene.rules import Rule

_CACHE = "__pycache__"
_UNCHECKED_HASH = 1
_REMEDY = "compile with python3 -m compileall --invalidation-mode unchecked-hash, or drop it"


def check(path: str, files: Mapping[str, Path]) -> list[Finding]:
    """Findings about the bytecode at `path`. A timestamp would break reproduction; a hash that does not fit would run
    code that is not the source.

    Arguments: `path` in the image, without a leading slash; `files`, every file of the image: path → where it is now.
    """
    what = _complaint(path, files, files[path].read_bytes()[:16])
    return [Finding(Rule.PYC, f"/{path}", what, _REMEDY)] if what else []


def _complaint(path: str, files: Mapping[str, Path], head: bytes) -> str:
    """What is wrong with bytecode that begins with the 16 bytes `head`; empty when nothing is."""
    if len(head) < 16:
        return "too short for bytecode"
    if head[:4] != importlib.util.MAGIC_NUMBER:
        return "bytecode of another Python version: nothing loads it"
    (flags,) = struct.unpack_from("<I", head, 4)
    if flags != _UNCHECKED_HASH:
        return "bound to its source by a timestamp" if flags == 0 else "checks its source at every import"
    place = _source(PurePosixPath(path))
    if place is None:
        return ""
    source = files.get(place)
    if source is None:
        return "has no source next to it: nothing loads it"
    fits = importlib.util.source_hash(source.read_bytes()) == head[8:]
    return "" if fits else "was made from other source than the file next to it, and would run in its place"


def _source(pyc: PurePosixPath) -> str | None:
    """`__pycache__/name.cpython-311[.opt-1].pyc` → `name.py`; None for bytecode that stands alone."""
    if pyc.parent.name != _CACHE:
        return None
    return str(pyc.parent.parent / f"{pyc.name.split('.cpython-', 1)[0]}.py")
