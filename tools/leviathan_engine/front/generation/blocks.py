"""An answer as a row of blocks, for APIs that have no single text: reasoning, then content, each opened and closed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from .events import Choice, Finish, Part, TextDelta, Written


@dataclass
class Block:
    """One block: its place in the answer, what it is, and its text so far."""

    index: int
    part: Part
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All of its text."""
        return "".join(self.pieces)


@dataclass(frozen=True)
class Opened:
    """A block begins."""

    block: Block


@dataclass(frozen=True)
class More:
    """A block grows by `text`."""

    block: Block
    text: str


@dataclass(frozen=True)
class Closed:
    """A block is complete."""

    block: Block


Step = Opened | More | Closed


class Blocks:
    """Cuts the events of one choice into blocks. `reason` is why the answer ended."""

    def __init__(self) -> None:
        """No block yet."""
        self.complete: list[Block] = []
        self.reason = ""
        self._open: Block | None = None

    def take(self, event: Written) -> list[Step]:
        """What the next event does to the blocks."""
        if isinstance(event, Finish):
            self.reason = event.reason
            return self.close()
        if not isinstance(event, TextDelta):
            return []
        steps: list[Step] = []
        if self._open is None or self._open.part is not event.part:
            steps += self.close()
            self._open = Block(len(self.complete), event.part)
            steps.append(Opened(self._open))
        self._open.pieces.append(event.text)
        return [*steps, More(self._open, event.text)]

    def close(self) -> list[Step]:
        """The open block, if there is one, is complete."""
        if self._open is None:
            return []
        block, self._open = self._open, None
        self.complete.append(block)
        return [Closed(block)]


def blocks_of(choice: Choice) -> Sequence[Block]:
    """The blocks of a whole answer."""
    parts = ((Part.REASONING, choice.reasoning), (Part.CONTENT, choice.content))
    given = [(part, text) for part, text in parts if text]
    return [Block(index, part, [text]) for index, (part, text) in enumerate(given)]
