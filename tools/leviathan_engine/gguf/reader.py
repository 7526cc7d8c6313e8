"""Reads and checks one GGUF file's header (versions 2 and 3, little-endian).

Source of the format: ggml's `docs/gguf.md`; limits are llama.cpp's, if it has one. The tensors' data is not read, but
it must lie inside the file.
"""

import os
import stat
import struct
from pathlib import Path

from leviathan_engine.errors import GgufError

from .cursor import AGAIN, Cursor, short
from .model import Header, Part, Tensor, Value
from .types import REMOVED_TYPES, SCALARS, GgmlType, ValueType

MAGIC = b"GGUF"
DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 1 << 20
MAX_KEY = (1 << 16) - 1
MAX_NAME = 255
MAX_STRING = 32 << 20
MAX_KEYS = 1 << 16
MAX_TENSORS = 1 << 20
MAX_ITEMS = 1 << 24
MAX_DEPTH = 3
#: Maximum items in arrays of arrays, about 100 bytes each; headers of real models have none.
MAX_NESTED = 1 << 16
#: Maximum array items of a header, 500 MB in the worst case; a vocabulary of a million tokens has four million.
MAX_HEADER_ITEMS = 1 << 23
#: The same for later parts of a split model, which only have the keys of the split.
MAX_PART_ITEMS = 1 << 16
MAX_DIMS = 4
CONVERT = "convert the model again with a current llama.cpp"
OTHER = "name a GGUF file; if this is one, download it again"


def read_header(path: Path, part: int = 0) -> Header:
    """Returns the header of the file at `path`; every tensor gets the index `part`.

    Errors: GgufError in one line for a file that is missing, empty, truncated, not GGUF, has a wrong version or byte
    order, or has numbers out of bounds.
    """
    try:
        # O_NONBLOCK: opening a named pipe must not wait for a writer.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as err:
        raise GgufError(f"cannot open {path}: {err.strerror}", "check the path and its permissions") from err
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise GgufError(
                f"{path} is not a regular file", "give the path of a .gguf file, or of the folder that holds it"
            )
        most = MAX_PART_ITEMS if part else MAX_HEADER_ITEMS
        return _header(Cursor(fd, path, status.st_size, most), part)
    except OSError as err:
        raise GgufError(f"cannot read {path}: {err.strerror}", "check the disk with dmesg on the node") from err
    finally:
        os.close(fd)


def _header(cur: Cursor, part: int) -> Header:
    version, n_tensors, n_keys = _preamble(cur)
    metadata = _metadata(cur, n_keys)
    alignment = _alignment(cur, metadata)
    rows = [_tensor_row(cur) for _ in range(n_tensors)]
    data = -(-cur.pos // alignment) * alignment
    tensors = tuple(_placed(cur, row, data, alignment, part) for row in rows)
    _check_places(cur, tensors)
    return Header(Part(cur.path, cur.size, version, alignment, data), metadata, tensors)


def _preamble(cur: Cursor) -> tuple[int, int, int]:
    if cur.size < 24:
        raise cur.error(f"not a GGUF file: it has only {cur.size} bytes")
    magic = cur.take(4)
    if magic != MAGIC:
        raise _no_gguf(cur, magic)
    version = cur.u32()
    if version not in (2, 3):
        if int.from_bytes(version.to_bytes(4, "little"), "big") in (2, 3):
            raise GgufError(
                f"{cur.path}: expected a little-endian GGUF file, got a big-endian one",
                "convert it with gguf-convert-endian",
            )
        raise GgufError(f"{cur.path}: expected GGUF version 2 or 3, got {version}", CONVERT)
    n_tensors, n_keys = cur.u64(), cur.u64()
    # 24 bytes is the shortest row of the tensor table, 13 the shortest key with a value.
    for count, cap, least, what in ((n_tensors, MAX_TENSORS, 24, "tensors"), (n_keys, MAX_KEYS, 13, "metadata keys")):
        if count > cap or count * least > cur.remaining:
            raise cur.error(f"the header is damaged: {count} {what} do not fit in a file of {cur.size} bytes")
    return version, n_tensors, n_keys


def _no_gguf(cur: Cursor, magic: bytes) -> GgufError:
    """Returns the error for a file that is not GGUF: names what a failed or unfinished download left instead."""
    start = magic + cur.take(20)
    known = {
        b"version https://git-lf": ("a Git LFS pointer, not the file itself", "git lfs pull"),
        bytes(8): ("a file that starts with zeros: its download is unfinished", "wait, or download the file again"),
    }
    for sign, (what, remedy) in known.items():
        if start.startswith(sign):
            return GgufError(f"{cur.path}: expected a GGUF file, got {what}", remedy)
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return GgufError(
            f"{cur.path}: expected a GGUF file, got a web page",
            "log in to the model's site, or accept its terms, and download the file again",
        )
    return GgufError(f"{cur.path}: expected a GGUF file, which starts with GGUF, got {magic!r}", OTHER)


def _metadata(cur: Cursor, count: int) -> dict[str, Value]:
    metadata: dict[str, Value] = {}
    for _ in range(count):
        key = cur.string(MAX_KEY, "a key")
        if key in metadata:
            raise cur.error(f"the key {short(key)} occurs twice", CONVERT)
        metadata[key] = _value(cur, _value_type(cur, key), key, 0)
    return metadata


def _value_type(cur: Cursor, key: str) -> ValueType:
    number = cur.u32()
    try:
        return ValueType(number)
    except ValueError:
        raise cur.error(f"{short(key)} has the value type {number}, which GGUF does not define") from None


def _value(cur: Cursor, kind: ValueType, key: str, depth: int) -> Value:
    if kind is ValueType.STRING:
        return cur.string(MAX_STRING, f"the value of {short(key)}")
    if kind is ValueType.ARRAY:
        return _array(cur, key, depth)
    return _scalars(cur, kind, 1, key)[0]


def _array(cur: Cursor, key: str, depth: int) -> list[Value]:
    kind, count = _value_type(cur, key), cur.u64()
    least = {ValueType.STRING: 8, ValueType.ARRAY: 12}.get(kind) or struct.calcsize(SCALARS[kind])
    if count > MAX_ITEMS or count * least > cur.remaining:
        raise cur.error(f"the header is damaged: {short(key)} has {count} items, more than fit in the file")
    cur.items += count
    cur.nested += count if depth or kind is ValueType.ARRAY else 0
    if cur.items > cur.most or cur.nested > MAX_NESTED:
        raise cur.error(f"the header is damaged: with {short(key)} it has {cur.items} list items, too many")
    if kind is ValueType.STRING:
        return list[Value](cur.strings(count, MAX_STRING, f"a string of {short(key)}"))
    if kind is ValueType.ARRAY:
        if depth + 1 >= MAX_DEPTH:
            raise cur.error(f"the header is damaged: {short(key)} is nested deeper than {MAX_DEPTH} levels")
        return [_array(cur, key, depth + 1) for _ in range(count)]
    return _scalars(cur, kind, count, key)


def _scalars(cur: Cursor, kind: ValueType, count: int, key: str) -> list[Value]:
    letter = SCALARS[kind]
    data = cur.take(count * struct.calcsize(letter))
    numbers = struct.unpack(f"<{count}{letter}", data)
    if kind is ValueType.BOOL:
        if any(n > 1 for n in numbers):
            raise cur.error(f"the header is damaged: {short(key)} is a boolean that is neither 0 nor 1")
        return [n == 1 for n in numbers]
    return list(numbers)


def _alignment(cur: Cursor, metadata: dict[str, Value]) -> int:
    value = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(value, int) or not 1 <= value <= MAX_ALIGNMENT or value & (value - 1):
        raise cur.error(f"general.alignment: expected a power of two up to {MAX_ALIGNMENT}, got {value!r}", CONVERT)
    return value


def _tensor_row(cur: Cursor) -> tuple[str, tuple[int, ...], GgmlType, int]:
    """Reads name, shape, type, and offset from the start of the data."""
    name = cur.string(MAX_NAME, "a tensor's name")
    n_dims = cur.u32()
    if n_dims > MAX_DIMS:
        raise cur.error(
            f"the header is damaged: tensor {short(name)} has {n_dims} dimensions, at most {MAX_DIMS} are allowed"
        )
    shape = tuple(cur.u64() for _ in range(n_dims))
    number, offset = cur.u32(), cur.u64()
    if number in REMOVED_TYPES:
        raise cur.error(f"tensor {short(name)} has type {REMOVED_TYPES[number]}, which ggml no longer has", CONVERT)
    try:
        kind = GgmlType(number)
    except ValueError:
        raise cur.error(f"tensor {short(name)} has type {number}, which ggml does not define", CONVERT) from None
    elements = 1
    for n in shape:
        elements *= n
        if n == 0 or elements >= 1 << 62:
            raise cur.error(f"the header is damaged: tensor {short(name)} has the shape {shape}")
    if (shape[0] if shape else 1) % kind.block:
        raise cur.error(
            f"tensor {short(name)}: expected rows of a multiple of {kind.block} elements for {kind.name}, got {shape}",
            CONVERT,
        )
    return name, shape, kind, offset


def _placed(
    cur: Cursor, row: tuple[str, tuple[int, ...], GgmlType, int], data: int, alignment: int, part: int
) -> Tensor:
    name, shape, kind, offset = row
    if offset % alignment:
        raise GgufError(
            f"{cur.path}: tensor {short(name)}: expected an offset that is a multiple of {alignment}, got {offset}",
            CONVERT,
        )
    return Tensor(name, shape, kind, data + offset, part)


def _check_places(cur: Cursor, tensors: tuple[Tensor, ...]) -> None:
    """Checks that every tensor lies inside the file, that names are unique, and that no tensors overlap."""
    end, last = 0, ""
    names: set[str] = set()
    for tensor in sorted(tensors, key=lambda t: t.offset):
        if tensor.name in names:
            raise GgufError(f"{cur.path}: the tensor {short(tensor.name)} occurs twice in the tensor table", CONVERT)
        names.add(tensor.name)
        if tensor.offset < end:
            raise GgufError(f"{cur.path}: the tensors {short(last)} and {short(tensor.name)} overlap", AGAIN)
        end, last = tensor.offset + tensor.nbytes, tensor.name
    if end > cur.size:
        raise GgufError(
            f"{cur.path}: truncated: expected at least {end} bytes, got {cur.size}, so {end - cur.size} are missing"
            f" (the last tensor is {short(last)})",
            AGAIN,
        )
