"""The `diff` command: where two builds of one image part, down to the first byte."""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leviathan_image.layout_reader import Image, OpenedLayer, open_layout
from leviathan_image.tarcheck import members
from leviathan_image.zstdpipe import decompressed

_CHUNK = 1 << 20
_ATTRIBUTES = ("type", "mode", "uid", "gid", "uname", "gname", "mtime", "size", "linkname", "pax_headers")

Member = tuple[tarfile.TarFile, tarfile.TarInfo]


def diff(left: Path, right: Path) -> Iterator[str]:
    """Every difference between the images of two layouts, one line each; nothing when they are the same.

    Layers are compared in order; those of equal digest are skipped, the others read side by side as streams. Raises
    ImageError where a layout or a layer cannot be read.
    """
    first, second = open_layout(left), open_layout(right)
    if first.ref != second.ref:
        yield f"index: name {first.ref!r} and {second.ref!r}"
    if first.digest == second.digest:
        return
    yield f"index: manifest {first.digest} and {second.digest}"
    yield from _documents("config", first.config, second.config)
    if len(first.layers) != len(second.layers):
        yield f"manifest: {len(first.layers)} and {len(second.layers)} layers"
    for one, two in zip(first.layers, second.layers, strict=False):
        yield from _layers(first, one, second, two)


def _documents(where: str, left: object, right: object) -> Iterator[str]:
    """The leaves in which two JSON documents differ."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            yield from _documents(f"{where}.{key}", left.get(key), right.get(key))
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for number, (one, two) in enumerate(zip(left, right, strict=True)):
            yield from _documents(f"{where}[{number}]", one, two)
    elif left != right:
        yield f"{where}: {left!r} and {right!r}"


def _layers(left: Image, one: OpenedLayer, right: Image, two: OpenedLayer) -> Iterator[str]:
    if one.blob == two.blob:
        return
    name = f"layer {one.name}"
    if one.name != two.name:
        yield f"{name}: the other image has {two.name} in its place"
    if one.diff_id == two.diff_id:
        yield f"{name}: same tar, compressed differently ({one.blob.size} and {two.blob.size} bytes)"
        return
    equal = True
    with decompressed(left.path(one.blob.digest)) as first, decompressed(right.path(two.blob.digest)) as second:
        for line in _walk(members(first), members(second)):
            equal = False
            yield f"{name}: {line}"
    if equal:
        yield f"{name}: same members, different bytes between them (headers, padding)"


def _walk(left: Iterator[Member], right: Iterator[Member]) -> Iterator[str]:
    """Merge two sorted archives: members of one only, differing attributes, first differing byte."""
    one, two = next(left, None), next(right, None)
    while one is not None or two is not None:
        if two is None or (one is not None and _name(one) < _name(two)):
            assert one is not None
            yield f"/{one[1].name} is only in the first"
            one = next(left, None)
        elif one is None or _name(two) < _name(one):
            yield f"/{two[1].name} is only in the second"
            two = next(right, None)
        else:
            yield from _members(one, two)
            one, two = next(left, None), next(right, None)


def _name(member: Member) -> bytes:
    return member[1].name.encode(errors="surrogateescape")


def _members(one: Member, two: Member) -> Iterator[str]:
    path = one[1].name
    for attribute in _ATTRIBUTES:
        values: tuple[Any, Any] = (getattr(one[1], attribute), getattr(two[1], attribute))
        if values[0] != values[1]:
            shown = [oct(value) if attribute == "mode" else repr(value) for value in values]
            yield f"/{path}: {attribute} {shown[0]} and {shown[1]}"
    if one[1].isreg() and two[1].isreg():
        offset = _first_difference(one, two)
        if offset is not None:
            yield f"/{path}: content differs from byte {offset}"


def _first_difference(one: Member, two: Member) -> int | None:
    """The offset in bytes where two regular files part, None when they are equal."""
    first, second = one[0].extractfile(one[1]), two[0].extractfile(two[1])
    assert first is not None
    assert second is not None
    offset = 0
    while True:
        left, right = first.read(_CHUNK), second.read(_CHUNK)
        if left != right:
            pairs = zip(left, right, strict=False)
            short = min(len(left), len(right))
            return offset + next((place for place, (a, b) in enumerate(pairs) if a != b), short)
        if not left:
            return None
        offset += len(left)
