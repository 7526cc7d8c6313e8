"""Parses the answers of OpenAI's API: whole completions and chats, and streamed chats.

Source: OpenAI API reference, "The chat completion object" and "The chat completion chunk object".
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from leviathan.smoke.endpoint import Answer, Event, shown
from leviathan.smoke.result import Measured, Wrong

#: Valid finish_reasons of an answer without tools and content filters.
ENDS = ("stop", "length")


@dataclass(frozen=True)
class Said:
    """An answer: its text, why it ended, and the tokens of the prompt and of the answer."""

    text: str
    finish: str
    prompt_tokens: int
    tokens: int

    def words(self) -> str:
        """The answer in one line."""
        return f"{quoted(self.text)}, {self.finish}, {self.tokens} tokens"


def whole(answer: Answer, *, chat: bool) -> Said:
    """A completion or chat without streaming. Errors: Wrong if it has no text, finish_reason or usage."""
    content = answer.object()
    try:
        choice = content["choices"][0]
        text = choice["message"]["content"] if chat else choice["text"]
        finish, usage = choice["finish_reason"], content["usage"]
    except (KeyError, IndexError, TypeError):
        raise Wrong(answer.text()) from None
    return _said(text, finish, usage)


def streamed(events: Iterable[Event], model: str) -> tuple[Said, Measured]:
    """A streamed chat, and its speed.

    Errors: Wrong if an event is not a chunk of one answer of `model`, if the finish_reason or the usage is missing or
    comes twice, or if [DONE] is missing or not the last event.
    """
    chat = _Chat(model)
    try:
        for event in events:
            chat.take(event)
    except Wrong as wrong:
        raise type(wrong)(f"{wrong.received} ({chat.progress()})") from None
    if not chat.done:
        raise Wrong(f"a stream that ends without [DONE] ({chat.progress()})")
    if not chat.finish:
        raise Wrong(f"a stream without finish_reason ({chat.progress()})")
    if chat.usage is None:
        raise Wrong(f"a stream without usage, although include_usage was set ({chat.progress()})")
    said = _said("".join(chat.pieces), chat.finish, chat.usage)
    return said, Measured(chat.first_s, chat.last_s - chat.first_s, said.tokens, len(chat.pieces))


def quoted(text: str) -> str:
    """A model's text in quotation marks, shortened if it is long."""
    return json.dumps(shown(text, 60), ensure_ascii=False)


@dataclass
class _Chat:
    """The stream so far."""

    model: str
    id: str = ""
    pieces: list[str] = field(default_factory=list)
    finish: str = ""
    usage: Any = None
    done: bool = False
    first_s: float = 0.0
    last_s: float = 0.0

    def progress(self) -> str:
        return f"{len(self.pieces)} pieces before: {quoted(''.join(self.pieces))}"

    def take(self, event: Event) -> None:
        if self.done:
            raise Wrong(f"an event after [DONE]: {shown(event.data)}")
        if event.data == "[DONE]":
            self.done = True
            return
        chunk = self._chunk(event.data)
        if chunk.get("usage") is not None:
            if self.usage is not None:
                raise Wrong("a second usage")
            self.usage = chunk["usage"]
        for choice in chunk["choices"]:
            self._choice(choice, event)

    def _chunk(self, data: str) -> dict[str, Any]:
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError):
            raise Wrong(f"an event that is not JSON: {shown(data)}") from None
        if not isinstance(chunk, dict) or chunk.get("error") is not None or not isinstance(chunk.get("choices"), list):
            raise Wrong(f"an event that is not a chunk of a chat: {shown(data)}")
        self.id = self.id or str(chunk.get("id"))
        if str(chunk.get("id")) != self.id or chunk.get("model") != self.model:
            raise Wrong(f"a chunk of another answer or model: {shown(data)}")
        return chunk

    def _choice(self, choice: Any, event: Event) -> None:
        delta = choice.get("delta") if isinstance(choice, dict) else None
        text = (delta.get("content") or "") if isinstance(delta, dict) else None
        if not isinstance(text, str):
            raise Wrong(f"a chunk without a delta: {shown(event.data)}")
        if self.finish and (text or choice.get("finish_reason")):
            raise Wrong(f"more after finish_reason {self.finish}: {shown(event.data)}")
        if text:
            self.first_s = self.first_s or event.after_s
            self.last_s = event.after_s
            self.pieces.append(text)
        self.finish = choice.get("finish_reason") or self.finish


def _said(text: Any, finish: Any, usage: Any) -> Said:
    if not isinstance(text, str) or not text:
        raise Wrong(
            "an answer without text" if text in ("", None) else f"a text that is not a string: {shown(repr(text))}"
        )
    if finish not in ENDS:
        raise Wrong(f"{quoted(text)} with finish_reason {shown(repr(finish))}")
    if not isinstance(usage, dict):
        raise Wrong(f"{quoted(text)} with a usage that is not an object: {shown(json.dumps(usage))}")
    prompt, tokens, total = (usage.get(f"{name}_tokens") for name in ("prompt", "completion", "total"))
    if not (type(prompt) is int and type(tokens) is int and prompt > 0 < tokens and total == prompt + tokens):
        raise Wrong(f"{quoted(text)} with a usage that does not add up: {shown(json.dumps(usage))}")
    return Said(text, finish, prompt, tokens)
