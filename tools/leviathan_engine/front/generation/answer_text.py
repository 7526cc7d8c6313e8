"""Turns the tokens of one choice into events: text, stop strings, thoughts, tool calls."""

import uuid
from collections.abc import Callable, Iterable, Sequence

from leviathan_engine.model.rendered_chat import ChatPrompt, RenderedChat

from .events import Part, TextDelta, ToolCallDelta
from .reasoning import ReasoningSplitter
from .request import GenerationRequest, Prompt, Reasoning
from .text import TextStream
from .tool_calls import CallArguments, CallBegin, Found, Outside, ToolCallSplitter

Delta = TextDelta | ToolCallDelta


class AnswerText:
    """The text of choice `index`."""

    def __init__(
        self,
        index: int,
        decode: Callable[[Sequence[int]], str],
        request: GenerationRequest,
        prompt: Prompt,
        talk: RenderedChat | None,
    ) -> None:
        """`decode` returns the text of token ids; `talk` is the rendered chat if `prompt` is one."""
        self.index = index
        self._text = TextStream(decode, request.ending.stop)
        self._where = request.reasoning
        self._one_call = not request.parallel_calls
        self._thoughts: ReasoningSplitter | None = None
        self._calls: ToolCallSplitter | None = None
        self._first = ""
        self._ended = False
        self._seen = -1
        if talk is None or not isinstance(prompt, ChatPrompt):
            return
        if self._where is Reasoning.INSIDE:
            self._first = talk.tag
        else:
            self._thoughts = ReasoningSplitter(inside=talk.thinking)
        if prompt.tools:
            self._calls = ToolCallSplitter(talk.opened)

    @property
    def stopped(self) -> bool:
        """Whether the answer is complete: it has a stop string, or all tool calls that are allowed."""
        return self._text.stopped or self._ended

    @property
    def stop(self) -> str:
        """The stop string that ended the answer."""
        return self._text.stop

    def push(self, token: int) -> list[Delta]:
        """Adds a token; returns the events that are certain now."""
        return self._split(self._text.push(token), final=False)

    def finish(self) -> list[Delta]:
        """Returns the events that were held back."""
        return self._split(self._text.finish(), final=True)

    def reason(self, reason: str) -> str:
        """Returns the finish reason of the choice; `reason` is the worker's."""
        reason = "stop" if self.stopped else reason
        return "tool_calls" if reason == "stop" and self._calls and self._calls.calls else reason

    def _split(self, text: str, *, final: bool) -> list[Delta]:
        text, self._first = self._first + text, ""
        if self._thoughts is None:
            return self._content(text, final=final)
        pieces = self._thoughts.push(text) if text else []
        pieces += self._thoughts.finish() if final else []
        out: list[Delta] = []
        for part, piece in pieces:
            if part is Part.CONTENT:
                out += self._content(piece, final=False)
            elif self._where is Reasoning.APART:
                out.append(TextDelta(self.index, piece, part))
        return out + (self._content("", final=True) if final else [])

    def _content(self, text: str, *, final: bool) -> list[Delta]:
        if self._calls is None:
            return [TextDelta(self.index, text)] if text else []
        found = self._calls.push(text) if text else []
        found += self._calls.finish() if final else []
        return list(self._events(found))

    def _events(self, found: Iterable[Found]) -> Iterable[Delta]:
        for one in found:
            if isinstance(one, CallBegin):
                self._seen += 1
            if self._ended or (self._one_call and self._seen > 0):
                self._ended = True
            elif isinstance(one, Outside):
                yield TextDelta(self.index, one.text)
            elif isinstance(one, CallArguments):
                yield ToolCallDelta(self.index, self._seen, arguments=one.text)
            else:
                yield ToolCallDelta(self.index, self._seen, f"call_{uuid.uuid4().hex[:24]}", one.name)
