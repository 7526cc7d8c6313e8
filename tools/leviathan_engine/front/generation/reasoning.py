"""Splits an answer's text into the thought and the content, while the text arrives.

The thought is between `<think>` and `</think>`. Its opening tag is either the end of the prompt (R1, V3.1) or the
beginning of the answer (R1-0528). White space around both parts is removed.
"""

from enum import Enum

from .events import Part
from .text import overlap

OPEN, CLOSE = "<think>", "</think>"
Piece = tuple[Part, str]


class _State(Enum):
    START, THOUGHT_START, THOUGHT, CONTENT_START, CONTENT = range(5)


class ReasoningSplitter:
    """Splits text that arrives in pieces. The result does not depend on how the text is cut into pieces."""

    def __init__(self, *, inside: bool) -> None:
        """`inside`: the prompt ends with the opening tag."""
        self._state = _State.THOUGHT_START if inside else _State.START
        self._held = ""

    @property
    def thinking(self) -> bool:
        """Whether the text so far ends inside a thought."""
        return self._state in (_State.THOUGHT_START, _State.THOUGHT)

    def push(self, text: str) -> list[Piece]:
        """Adds text; returns the pieces that are certain now."""
        return self._run(text, final=False)

    def finish(self) -> list[Piece]:
        """Returns the pieces that were held back."""
        return self._run("", final=True)

    def _run(self, text: str, *, final: bool) -> list[Piece]:
        self._held += text
        pieces: list[Piece] = []
        state = None
        while state is not self._state:
            state = self._state
            if piece := self._step(final=final):
                pieces.append(piece)
        return pieces

    def _step(self, *, final: bool) -> Piece | None:
        """Returns the text that is certain in the current state; enters the next state if it is certain."""
        match self._state:
            case _State.START:
                self._start(final=final)
            case _State.THOUGHT_START | _State.CONTENT_START:
                self._held = self._held.lstrip()
                if self._held:
                    self._state = _State.THOUGHT if self._state is _State.THOUGHT_START else _State.CONTENT
            case _State.THOUGHT:
                return self._thought(final=final)
            case _State.CONTENT:
                out, self._held = self._held, ""
                return (Part.CONTENT, out) if out else None
        return None

    def _start(self, *, final: bool) -> None:
        text = self._held.lstrip()
        if text.startswith(OPEN):
            self._held, self._state = text[len(OPEN) :], _State.THOUGHT_START
        elif final or not OPEN.startswith(text):
            self._state = _State.CONTENT

    def _thought(self, *, final: bool) -> Piece | None:
        before, close, after = self._held.partition(CLOSE)
        if close:
            out, self._held, self._state = before.rstrip(), after, _State.CONTENT_START
        elif final:
            out, self._held = before.rstrip(), ""
        else:
            end = len(before) - overlap(before, CLOSE)
            out = before[:end].rstrip()
            self._held = before[len(out) :]
        return (Part.REASONING, out) if out else None
