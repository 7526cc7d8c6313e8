"""An answer as a row of blocks, for APIs that have no single text: reasoning, content and calls, one after another."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from .events import Choice, Finish, LogprobDelta, Part, ToolCallDelta, Written


class Kind(Enum):
    """What a block is."""

    REASONING = "reasoning"
    CONTENT = "content"
    CALL = "call"


KINDS = {Part.REASONING: Kind.REASONING, Part.CONTENT: Kind.CONTENT}


@dataclass
class Block:
    """One block: its place in the answer, what it is, and its text so far; of a call that is the arguments' text."""

    index: int
    kind: Kind
    pieces: list[str] = field(default_factory=list)
    id: str = ""
    name: str = ""

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
    """Cuts the events of one choice into blocks. `finish` is how the answer ended."""

    def __init__(self) -> None:
        """No block yet."""
        self.complete: list[Block] = []
        self.finish = Finish(0, "stop")
        self._open: Block | None = None

    def take(self, event: Written) -> list[Step]:
        """What the next event does to the blocks."""
        if isinstance(event, Finish):
            self.finish = event
            return self.close()
        steps: list[Step] = []
        if isinstance(event, LogprobDelta):
            return steps
        if isinstance(event, ToolCallDelta):
            if event.name:
                steps += self._begin(Block(-1, Kind.CALL, id=event.id, name=event.name))
            return [*steps, *self._grow(event.arguments)]
        kind = KINDS[event.part]
        if self._open is None or self._open.kind is not kind:
            steps += self._begin(Block(-1, kind))
        return [*steps, *self._grow(event.text)]

    def close(self) -> list[Step]:
        """The open block, if there is one, is complete."""
        if self._open is None:
            return []
        block, self._open = self._open, None
        self.complete.append(block)
        return [Closed(block)]

    def _begin(self, block: Block) -> list[Step]:
        steps = self.close()
        block.index = len(self.complete)
        self._open = block
        return [*steps, Opened(block)]

    def _grow(self, text: str) -> list[Step]:
        if not text or self._open is None:
            return []
        self._open.pieces.append(text)
        return [More(self._open, text)]


def blocks_of(choice: Choice) -> Sequence[Block]:
    """The blocks of a whole answer."""
    texts = ((Kind.REASONING, choice.reasoning), (Kind.CONTENT, choice.content))
    blocks = [Block(0, kind, [text]) for kind, text in texts if text]
    blocks += [Block(0, Kind.CALL, [call.arguments], call.id, call.name) for call in choice.calls]
    for index, block in enumerate(blocks):
        block.index = index
    return blocks
