"""Splits an answer into blocks of reasoning, content and calls, for APIs whose answers are lists of blocks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from .events import Choice, Finish, LogprobDelta, Part, PromptDelta, ToolCallDelta, Written


class Kind(Enum):
    """The kind of a block."""

    REASONING = "reasoning"
    CONTENT = "content"
    CALL = "call"


KINDS = {Part.REASONING: Kind.REASONING, Part.CONTENT: Kind.CONTENT}


@dataclass
class Block:
    """One block: its index in the answer, its kind, and its text so far; the text of a call is its arguments."""

    index: int
    kind: Kind
    pieces: list[str] = field(default_factory=list)
    id: str = ""
    name: str = ""

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self.pieces)


@dataclass(frozen=True)
class Opened:
    """The start of a block."""

    block: Block


@dataclass(frozen=True)
class More:
    """More `text` of a block."""

    block: Block
    text: str


@dataclass(frozen=True)
class Closed:
    """The end of a block."""

    block: Block


Step = Opened | More | Closed


class Blocks:
    """Splits the events of one choice into blocks. `finish` is the event with which the answer ended."""

    def __init__(self) -> None:
        """Starts without a block."""
        self.complete: list[Block] = []
        self.finish = Finish(0, "stop")
        self._open: Block | None = None

    def take(self, event: Written) -> list[Step]:
        """Returns the steps for the next event."""
        if isinstance(event, Finish):
            self.finish = event
            return self.close()
        steps: list[Step] = []
        if isinstance(event, LogprobDelta | PromptDelta):
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
        """Returns the end of the open block, if there is one."""
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
    """Returns the blocks of a complete answer."""
    texts = ((Kind.REASONING, choice.reasoning), (Kind.CONTENT, choice.content))
    blocks = [Block(0, kind, [text]) for kind, text in texts if text]
    blocks += [Block(0, Kind.CALL, [call.arguments], call.id, call.name) for call in choice.calls]
    for index, block in enumerate(blocks):
        block.index = index
    return blocks
