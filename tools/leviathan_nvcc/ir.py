"""Unoptimised IR as text: what of it is the program, so that equal programs are compiled once.

Two architectures that clang compiles for the same ``sm_90`` differ in ``__CUDA_ARCH__`` alone. Most sources never ask
for it, or only in declarations that no kernel uses (torch's headers define a constant by it), and then the front end's
output is the same text except for ``!srcloc``: the position of each inline assembly statement, counted in bytes of all
headers before it, which only serves messages of an assembler that NVPTX does not have. Without those the texts are
compared, and the very text that was compared is what the back end compiles: sharing cannot change a program.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_USE = re.compile(rb", !srcloc !(\d+)")
_REFERENCE = re.compile(rb"(?<!\n)!(\d+)")
_NODE = rb"^!(?:%s) = !\{.*\}\n"


def canonical(text: bytes) -> bytes:
    """Removes ``!srcloc`` and the metadata that nothing else refers to.

    >>> canonical(b'call void asm "x", ""(), !srcloc !7\\n!7 = !{i64 41}\\n!8 = !{i64 3}\\n')
    b'call void asm "x", ""()\\n!8 = !{i64 3}\\n'
    """
    numbers = set(_USE.findall(text))
    if not numbers:
        return text
    plain = _USE.sub(b"", text)
    orphans = numbers.difference(_REFERENCE.findall(plain))
    if not orphans:
        return plain
    return re.sub(_NODE % b"|".join(sorted(orphans)), b"", plain, flags=re.MULTILINE)


def canonicalize(file: Path) -> str:
    """Rewrites an IR file in canonical form and returns its sha256, in hex."""
    text = canonical(file.read_bytes())
    file.write_bytes(text)
    return hashlib.sha256(text).hexdigest()
