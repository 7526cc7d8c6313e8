"""Writes GGUF version 3 files: as much as is needed for assembled kv_b tensors and for tests.

Source: ggml's `docs/gguf.md`.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .reader import DEFAULT_ALIGNMENT, MAGIC
from .types import SCALARS, GgmlType, ValueType

# A value with its GGUF type; an array's items share one scalar or string type.
Typed = tuple[ValueType, object] | tuple[ValueType, ValueType, Sequence[object]]


def write_gguf(
    path: Path,
    metadata: Mapping[str, Typed],
    tensors: Sequence[tuple[str, tuple[int, ...], GgmlType]],
    data: Iterable[bytes],
) -> None:
    """Writes one file: `tensors` are names, shapes in ggml's order and types, `data` their bytes in the same order.

    Takes the data piece by piece, so the file may be larger than memory. Errors: ValueError if a piece has another
    size than its tensor; OSError from the file system.
    """
    head = [MAGIC, struct.pack("<IQQ", 3, len(tensors), len(metadata))]
    for key, value in metadata.items():
        head += [_string(key), _typed(value)]
    offset = 0
    sizes = []
    for name, shape, kind in tensors:
        head.append(_string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset))
        elements = 1
        for n in shape:
            elements *= n
        sizes.append(kind.nbytes(elements))
        offset += _padded(sizes[-1])
    header = b"".join(head)
    with path.open("wb") as out:
        out.write(header.ljust(_padded(len(header)), b"\0"))
        for (name, _shape, _kind), size, piece in zip(tensors, sizes, data, strict=True):
            if len(piece) != size:
                raise ValueError(f"write_gguf: tensor {name!r}: expected {size} bytes, got {len(piece)}")
            out.write(piece.ljust(_padded(size), b"\0"))


def _padded(n: int) -> int:
    return -(-n // DEFAULT_ALIGNMENT) * DEFAULT_ALIGNMENT


def _string(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")
    return struct.pack("<Q", len(raw)) + raw


def _typed(value: Typed) -> bytes:
    if len(value) == 3:
        _array, kind, items = value
        body = b"".join(_one(kind, item) for item in items)
        return struct.pack("<IIQ", ValueType.ARRAY, kind, len(items)) + body
    return struct.pack("<I", value[0]) + _one(value[0], value[1])


def _one(kind: ValueType, item: object) -> bytes:
    if kind is ValueType.STRING:
        return _string(str(item))
    return struct.pack(f"<{SCALARS[kind]}", item)
