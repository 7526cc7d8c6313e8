"""Parses DeepSeek's tool calls in an answer's text, while the text arrives.

Two formats (the models' chat templates and the model card of V3.1):

- V3, V3-0324, R1, R1-0528: `<｜tool▁calls▁begin｜>`, and for each call
  `<｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME`, the arguments between a line "```json" and a line "```", and
  `<｜tool▁call▁end｜>`; finally `<｜tool▁calls▁end｜>`.
- V3.1: the same markers, and each call is `<｜tool▁call▁begin｜>NAME<｜tool▁sep｜>ARGUMENTS<｜tool▁call▁end｜>`.

The format is recognised separately for each call.
"""

import re
from dataclasses import dataclass
from enum import Enum

from leviathan_engine.model.tool_format import CALL_BEGIN, CALL_END, CALLS_BEGIN, CALLS_END, FENCE, SEP, TYPE

from .text import overlap

# The line that opens the arguments in the older format.
FENCED = re.compile(r"\s*([^\n`]+?)[ \t]*\n\s*```(?:json)?[ \t]*\n")


@dataclass(frozen=True)
class CallBegin:
    """The start of a call, with the name of the function."""

    name: str


@dataclass(frozen=True)
class CallArguments:
    """More of the arguments' text; never empty."""

    text: str


@dataclass(frozen=True)
class Outside:
    """Text outside of calls; never empty."""

    text: str


Found = CallBegin | CallArguments | Outside


class _State(Enum):
    TEXT, CALLS, HEADER, NAME, ARGUMENTS = range(5)


class ToolCallSplitter:
    """Splits text that arrives in pieces. The result does not depend on how the text is cut into pieces."""

    def __init__(self, opened: str = "") -> None:
        """`opened` is the beginning of the calls that is already in the prompt, for a forced call."""
        self._state = _State.TEXT
        self._held = opened
        self._type = ""
        self._fenced = False
        self._empty = True
        self.calls = 0

    def push(self, text: str) -> list[Found]:
        """Adds text; returns what is certain now."""
        return self._run(text, final=False)

    def finish(self) -> list[Found]:
        """Returns what was held back, including an incomplete call."""
        return self._run("", final=True)

    def _run(self, text: str, *, final: bool) -> list[Found]:
        self._held += text
        steps = {
            _State.TEXT: self._text,
            _State.CALLS: self._between,
            _State.HEADER: self._header,
            _State.NAME: self._name,
            _State.ARGUMENTS: self._arguments,
        }
        found: list[Found] = []
        before = None
        while before != (self._state, self._held):
            before = (self._state, self._held)
            found += steps[self._state](final)
        return found

    def _text(self, final: bool) -> list[Found]:
        """Outside of calls: returns the text up to a marker, without the white space before it."""
        places = [(at, marker) for marker in (CALLS_BEGIN, CALL_BEGIN) if (at := self._held.find(marker)) >= 0]
        if places:
            at, marker = min(places)
            out = self._held[:at].rstrip()
            self._held = self._held[at if marker == CALL_BEGIN else at + len(marker) :]
            self._state = _State.CALLS
        elif final:
            out, self._held = self._held.rstrip() if self.calls else self._held, ""
        else:
            end = len(self._held) - max(overlap(self._held, marker) for marker in (CALLS_BEGIN, CALL_BEGIN))
            out = self._held[:end].rstrip()
            self._held = self._held[len(out) :]
        return [Outside(out)] if out else []

    def _between(self, final: bool) -> list[Found]:
        """Between calls: recognises the next call, the end of all calls, or other text."""
        text = self._held.lstrip()
        if text.startswith(CALL_BEGIN):
            self._held, self._state = text[len(CALL_BEGIN) :], _State.HEADER
        elif text.startswith(CALLS_END):
            self._held, self._state = text[len(CALLS_END) :], _State.TEXT
        elif final or not (CALL_BEGIN.startswith(text) or CALLS_END.startswith(text)):
            self._held, self._state = text, _State.TEXT
        return []

    def _header(self, final: bool) -> list[Found]:
        """Reads the word before the separator. A call without a separator is text."""
        ends = [(at, mark) for mark in (SEP, CALL_END) if (at := self._held.find(mark)) >= 0]
        if ends:
            at, mark = min(ends)
            head, self._held = self._held[:at], self._held[at + len(mark) :]
            if mark == SEP:
                self._type, self._state = head.strip(), _State.NAME
                return []
            self._state = _State.CALLS
            return [Outside(CALL_BEGIN + head + CALL_END)]
        if final:
            head, self._held, self._state = self._held, "", _State.TEXT
            return [Outside(CALL_BEGIN + head)]
        return []

    def _name(self, final: bool) -> list[Found]:
        """Reads the function's name: the word before the separator, or in the older format the line after it."""
        if self._type != TYPE or self._held.lstrip().startswith("{"):
            return self._begin(self._type, fenced=False)
        if fence := FENCED.match(self._held):
            self._held = self._held[fence.end() :]
            return self._begin(fence[1].strip(), fenced=True)
        if final or CALL_END in self._held:
            # The older format, without a fence.
            name, _, self._held = self._held.lstrip().partition("\n")
            if CALL_END in name:
                name, self._held = name.split(CALL_END)[0], name[name.index(CALL_END) :] + "\n" + self._held
            return self._begin(name.strip(), fenced=True)
        return []

    def _begin(self, name: str, *, fenced: bool) -> list[Found]:
        self._state, self._fenced, self._empty = _State.ARGUMENTS, fenced, True
        self.calls += 1
        return [CallBegin(name)]

    def _arguments(self, final: bool) -> list[Found]:
        """Reads the arguments up to the call's end, without white space and fence around them; `{}` for none."""
        if self._empty:
            self._held = self._held.lstrip()
        before, mark, after = self._held.partition(CALL_END)
        if mark or final:
            out = before.rstrip()
            out = out.removesuffix(FENCE).rstrip() if self._fenced else out
            out = out or ("{}" if self._empty else "")
            self._held, self._state = after, _State.CALLS
        else:
            out = before[: len(before) - overlap(before, CALL_END)].rstrip()
            out = out.rstrip("`").rstrip() if self._fenced else out
            self._held = before[len(out) :]
        if not out:
            return []
        self._empty = False
        return [CallArguments(out)]
