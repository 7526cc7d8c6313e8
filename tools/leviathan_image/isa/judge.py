"""Which instructions go beyond a set of features, and which feature each of them needs."""

import re
from collections.abc import Sequence

from leviathan_image.isa.assembler import Assembler
from leviathan_image.isa.features import BASELINE, FEATURES, HARMLESS, by_name, clang_name

_VECTOR = re.compile(r"%([xyz])mm(\d+)")
_CLANG_NAMES = frozenset(feature.name for feature in FEATURES)
_GENERAL = re.compile(r"%(?:r(?:[abcd]x|[sd]i|[sb]p|8|9|1[0-5]))\b")


def beyond(texts: Sequence[str], allowed: frozenset[str], assembler: Assembler) -> dict[str, tuple[str, ...]]:
    """The texts that need more than `allowed` (clang's feature names) → the features that they lack, sorted.

    A text that neither the assembler nor the table knows is reported with the assembler's own words as its feature.
    """
    extensions = [f.gas for f in FEATURES if f.name in allowed and f.gas in assembler.extensions]
    candidates = [text for text in texts if not HARMLESS.match(text)]
    refused = assembler.refused([text.removeprefix("{apx} ") for text in candidates], extensions)
    found: dict[str, tuple[str, ...]] = {}
    unnamed: dict[str, tuple[list[str], str]] = {}
    for number, text in enumerate(candidates):
        name = by_name(text)
        if name is not None:
            if name not in allowed:
                found[text] = (name,)
        elif number in refused:
            unnamed.setdefault(shape(text), ([], refused[number]))[0].append(text)
    names = _names(list(unnamed), extensions, assembler)
    for text_shape, (members, why) in unnamed.items():
        needs = names.get(text_shape) or (f"unknown: {why}",)
        found.update((text, needs) for text in members)
    return found


def shape(text: str) -> str:
    """The text with registers that make no difference unified: vector registers 0-15 and 16-31, general registers."""
    text = _VECTOR.sub(lambda match: f"%{match[1]}mm{1 if int(match[2]) < 16 else 17}", text)
    return _GENERAL.sub("%rax", text) if text.startswith(("{vex}", "{evex}")) else text


def _names(shapes: Sequence[str], extensions: Sequence[str], assembler: Assembler) -> dict[str, tuple[str, ...]]:
    """What each refused shape lacks, by experiment: the extension that is enough alone and without which all others
    are not; else all of those without which the others are not; else any that is enough alone.
    """
    if not shapes:
        return {}
    new = [name for name in assembler.extensions if name not in BASELINE and name not in extensions]
    everything = [name for name in assembler.extensions if name not in BASELINE]
    alone = assembler.refused_each(shapes, [[*extensions, name] for name in new])
    without = assembler.refused_each(shapes, [[*everything, f"no{name}"] for name in new])
    groups: dict[frozenset[str], list[str]] = {}
    for number, text in enumerate(shapes):
        enough = {name for name, refused in zip(new, alone, strict=True) if number not in refused}
        needed = {name for name, refused in zip(new, without, strict=True) if number in refused}
        best = (enough & needed) or needed or enough
        groups.setdefault(frozenset(best), []).append(text)
    found: dict[str, tuple[str, ...]] = {}
    for names, members in groups.items():
        least = _least([name for name in new if name in names], members, extensions, assembler)
        found.update((text, tuple(sorted(clang_name(name) for name in least))) for text in members)
    return found


def _least(
    names: Sequence[str], shapes: Sequence[str], extensions: Sequence[str], assembler: Assembler
) -> Sequence[str]:
    """`names` without those that the rest brings along, or that say the same under a name that clang does not use."""
    left = list(names)
    for name in sorted(names, key=lambda name: clang_name(name) in _CLANG_NAMES):
        rest = [other for other in left if other != name]
        if rest and not assembler.refused(shapes, [*extensions, *rest]):
            left = rest
    return left
