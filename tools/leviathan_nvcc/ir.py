"""Unoptimised IR as text: what of it is the program, so that equal programs are compiled once; and two repairs.

Two architectures that clang compiles for the same ``sm_90`` differ in ``__CUDA_ARCH__`` alone. Most sources never ask
for it, or only in declarations that no kernel uses (torch's headers define a constant by it), and then the front end's
output is the same text except for ``!srcloc``: the position of each inline assembly statement, counted in bytes of all
headers before it, which only serves messages of an assembler that NVPTX does not have. Without those the texts are
compared, and the very text that was compared is what the back end compiles: sharing cannot change a program.

The repairs are of what clang 19 does and nvcc does not: libdevice's square root asks ``__nvvm_reflect`` whether it
must be exact, and LLVM answers "no" whatever -nvptx-prec-sqrtf32 says; and debug information names constants such as
``__PRETTY_FUNCTION__.f`` with a dot, which is no PTX identifier.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

_USE = re.compile(rb", !srcloc !(\d+)")
_REFERENCE = re.compile(rb"(?<!\n)!(\d+)")
_PREC_SQRT = re.compile(rb'^(@[\w.$]+) = .*c"__CUDA_PREC_SQRT\\00"', re.MULTILINE)
_DOTTED = re.compile(rb"^@([\w$]*\.[\w.$]*) = .*, !dbg ", re.MULTILINE)
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


def exact_roots(text: bytes) -> bytes:
    """Answers libdevice's question for ``__CUDA_PREC_SQRT`` with 1 (what nvcc does without -prec-sqrt=false)."""
    for match in _PREC_SQRT.finditer(text):
        call = rb"call i32 @__nvvm_reflect\(ptr %s\)(?: #\d+)?" % re.escape(match[1])
        text = re.sub(call, b"add i32 1, 0", text)
    return text


def undotted(text: bytes) -> bytes:
    """Replaces the dots in names of globals with debug information by ``_$_``, as LLVM does for those without."""
    for name in sorted(set(_DOTTED.findall(text)), key=len, reverse=True):
        text = re.sub(rb"@%s(?![\w.$])" % re.escape(name), b"@" + name.replace(b".", b"_$_"), text)
    return text


def prepare(file: Path, exact: bool, debug: bool) -> str:
    """Rewrites an IR file: repaired as asked, in canonical form.

    Arguments:
        exact: whether square roots are exact; debug: whether there is full debug information.
    Returns:
        The sha256 of the new text, in hex.
    """
    text = file.read_bytes()
    text = exact_roots(text) if exact else text
    text = canonical(undotted(text) if debug else text)
    file.write_bytes(text)
    return hashlib.sha256(text).hexdigest()
