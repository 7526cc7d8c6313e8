"""Fixed strings in files of any size, at memory speed: the file goes once through a small buffer."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from leviathan_image.errors import ImageError

_CHUNK = 1 << 20
_PATH_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./~-")
_FLAGS = frozenset({b"-I", b"-L", b"-B", b"-F"})


@dataclass(frozen=True, slots=True)
class Needle:
    """A string to look for: `text`; `fold`, whatever its case (then `text` is lower case); `anchored`, only where it
    begins a path, so that "/build/" does not fit "https://host/build/" but fits "-I/build/".
    """

    text: bytes
    fold: bool = False
    anchored: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """Where `needle` was found first (`offset` in bytes), how often in all, and the text `around` it."""

    needle: Needle
    offset: int
    count: int
    around: str


def path_needle(pattern: str) -> Needle:
    """The needle of a path pattern; a leading `^` anchors it. Raises ImageError on an empty one."""
    text = pattern.removeprefix("^")
    if not text:
        raise ImageError("an empty path pattern", "write it as /nix/store/ or ^/build/")
    return Needle(text.encode(), anchored=pattern.startswith("^"))


def search(path: Path, needles: Sequence[Needle]) -> list[Hit]:
    """The needles that occur in the file at `path`. Raises ImageError where it cannot be read."""
    keep = max((len(needle.text) for needle in needles), default=1) + 2
    buffer = bytearray(_CHUNK + keep)
    view = memoryview(buffer)
    places: dict[Needle, list[int]] = {needle: [] for needle in needles}
    try:
        with path.open("rb", buffering=0) as file:
            start, filled = 0, 0  # the file's offset of buffer[0]; bytes kept from the last round
            while count := file.readinto(view[filled : filled + _CHUNK]):
                end = filled + count
                folded = buffer[:end].lower() if any(needle.fold for needle in needles) else buffer
                for needle in needles:
                    _collect(folded if needle.fold else buffer, end, start, needle, places[needle])
                filled = min(keep, end)
                view[:filled] = bytes(view[end - filled : end])
                start += end - filled
            return [_hit(file.fileno(), needle, found) for needle, found in places.items() if found]
    except OSError as error:
        raise ImageError(f"cannot read {path}: {error.strerror}", "build the tree again") from error


def search_text(text: str, needles: Sequence[Needle]) -> list[Hit]:
    """The same for a short text, such as a link's target or a path."""
    data = bytearray(text.encode())
    hits = []
    for needle in needles:
        places: list[int] = []
        _collect(data.lower() if needle.fold else data, len(data), 0, needle, places)
        if places:
            hits.append(Hit(needle, places[0], len(places), text))
    return hits


def _collect(data: bytearray, end: int, start: int, needle: Needle, places: list[int]) -> None:
    """Add the offsets at which `needle` begins in `data[:end]`; what the last round already saw is passed over."""
    place = data.find(needle.text, 0, end)
    while place >= 0:
        seen = bool(places) and start + place <= places[-1]
        if not seen and (not needle.anchored or _begins_path(data, place)):
            places.append(start + place)
        place = data.find(needle.text, place + 1, end)


def _begins_path(data: bytearray, place: int) -> bool:
    return place == 0 or data[place - 1] not in _PATH_BYTES or bytes(data[max(place - 2, 0) : place]) in _FLAGS


def _hit(descriptor: int, needle: Needle, places: Sequence[int]) -> Hit:
    """The hit with its surroundings, cut at the first byte on either side that is not printable."""
    first = places[0]
    before = os.pread(descriptor, min(first, 40), max(first - 40, 0))
    after = os.pread(descriptor, 80, first)
    printable = {*range(32, 127)}
    head = 0
    for number, byte in enumerate(before):
        head = number + 1 if byte not in printable else head
    tail = next((number for number, byte in enumerate(after) if byte not in printable), len(after))
    return Hit(needle, first, len(places), (before[head:] + after[:tail]).decode("ascii", "replace"))
