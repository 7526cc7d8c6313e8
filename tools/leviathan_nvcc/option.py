"""What an option is: its names, how it takes a value, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """How an option takes its value."""

    FLAG = "no value"
    VALUE = "one value, the last one counts"
    BOOL = "true or false"
    REPEAT = "a value each time, taken as it is"
    WORDS = "a list of words, separated by commas or blanks outside quotes"


class Effect(Enum):
    """What becomes of an option."""

    USED = "used"
    IGNORED = "accepted, without effect"
    REFUSED = "not supported"


@dataclass(frozen=True)
class Option:
    """One option.

    Arguments:
        names: all its names without dashes, the long one first.
        kind: how it takes its value.
        effect: whether it is used.
        note: for IGNORED and REFUSED the reason, else what it does.
    """

    names: tuple[str, ...]
    kind: Kind
    effect: Effect
    note: str

    @property
    def key(self) -> str:
        """The name that settings carry."""
        return self.names[0]

    @property
    def title(self) -> str:
        """Both names as nvcc prints them: ``--gpu-code (-code)``."""
        short = self.names[-1]
        return f"--{self.key} (-{short})" if short != self.key else f"--{self.key}"
