"""OpenAI's answer objects: chat.completion, text_completion and the chunks of their streams."""

import time
import uuid
from collections.abc import Sequence

from ..api_error import ApiError
from ..generation.adapter import SSE
from ..generation.events import (
    Choice,
    Finish,
    LogprobDelta,
    Part,
    PromptDelta,
    PromptRead,
    PromptToken,
    TextDelta,
    TokenLogprob,
    ToolCall,
    ToolCallDelta,
    Usage,
    Written,
)
from ..generation.request import JsonObject
from ..json_response import dumps
from .logprobs import chat_logprobs, completion_logprobs, echo_logprobs, prompt_logprobs


class OpenAiWriter:
    """Writes one answer: an id, a time, the model's name; a chat or a plain completion."""

    media_type = SSE

    def __init__(
        self,
        model: str,
        *,
        chat: bool,
        include_usage: bool,
        echo_logprobs: int | None = None,
        prompt_logprobs: int | None = None,
    ) -> None:
        """`include_usage`: a stream ends with a usage chunk, and has usage null in other chunks.

        `echo_logprobs` and `prompt_logprobs`: most likely tokens to name with each token of an echoed prompt, and in
        vLLM's `prompt_logprobs`; None: no log probabilities there.
        """
        self._model, self._chat, self._include_usage = model, chat, include_usage
        self._echo_logprobs, self._prompt_logprobs = echo_logprobs, prompt_logprobs
        self._created = int(time.time())
        self.id = ("chatcmpl-" if chat else "cmpl-") + uuid.uuid4().hex
        self._opened: set[int] = set()
        self._tokens: dict[int, list[TokenLogprob]] = {}
        self._offsets: dict[int, int] = {}

    def begin(self) -> str:
        """Returns the first chunk of a chat, with the role; "" for a completion."""
        return self._open(0) if self._chat else ""

    def write(self, event: Written) -> str:
        """Returns a chunk with text, or with the finish reason."""
        if isinstance(event, LogprobDelta):
            self._tokens.setdefault(event.index, []).append(event.token)
            return ""
        if isinstance(event, PromptDelta):
            self._offsets[event.index] = self._offsets.get(event.index, 0) + len(event.echo)
            said = {"text": event.echo, "logprobs": self._echoed(event.tokens), "finish_reason": None}
            return self._chunk_of({"index": event.index, **said})
        opening = self._open(event.index) if self._chat else ""
        if isinstance(event, Finish):
            return opening + self._chunk(
                event.index, {"delta": {}} if self._chat else {"text": ""}, event.reason, event.timings
            )
        return opening + self._chunk(event.index, self._said(event), None)

    def progress(self, event: PromptRead) -> str:
        """Returns a chunk with llama.cpp's `prompt_progress` and without text."""
        opening = self._open(event.index) if self._chat else ""
        said: JsonObject = {"delta": {}} if self._chat else {"text": ""}
        return opening + self._chunk(event.index, said, None, progress=event)

    def beat(self, what: str) -> str:
        """Returns a comment."""
        return f": {what}\n\n"

    def end(self, usage: Usage) -> str:
        """Returns the usage chunk, if requested, and [DONE]."""
        last = (
            self._head("chat.completion.chunk") | {"choices": [], "usage": usage_body(usage)} | _timings(usage.timings)
        )
        return (_event(last) if self._include_usage else "") + "data: [DONE]\n\n"

    def fail(self, err: ApiError) -> str:
        """Returns the error, instead of [DONE]."""
        return _event(err.body())

    def whole(self, choices: Sequence[Choice], usage: Usage) -> JsonObject:
        """Returns the answer without streaming."""
        return self._head("chat.completion") | {
            "choices": [self._choice(choice) for choice in choices],
            "usage": usage_body(usage),
            **_timings(usage.timings),
        }

    def _said(self, event: TextDelta | ToolCallDelta) -> JsonObject:
        if isinstance(event, ToolCallDelta):
            function = {"name": event.name} if event.name else {}
            head = {"id": event.id, "type": "function"} if event.name else {}
            call = {"index": event.call, **head, "function": function | {"arguments": event.arguments}}
            return {"delta": {"tool_calls": [call]}}
        if not self._chat:
            return {"text": event.text}
        if event.part is Part.REASONING:
            return {"delta": {"reasoning_content": event.text, "reasoning": event.text}}
        return {"delta": {"content": event.text}}

    def _choice(self, choice: Choice) -> JsonObject:
        said: JsonObject = {"text": choice.reasoning + choice.content}
        if self._chat:
            message: JsonObject = {"role": "assistant", "content": choice.content}
            if choice.calls:
                message["content"] = choice.content or None
                message["tool_calls"] = [_call(call) for call in choice.calls]
            if choice.reasoning:
                message |= {"reasoning_content": choice.reasoning, "reasoning": choice.reasoning}
            said = {"message": message}
        self._offsets[choice.index] = choice.echoed
        logprobs = self._logprobs(choice.index, choice.tokens)
        if echoed := self._echoed(choice.prompt):
            logprobs = {name: echoed[name] + logprobs[name] for name in echoed} if logprobs else echoed
        if self._prompt_logprobs is not None:
            said["prompt_logprobs"] = prompt_logprobs(choice.prompt, self._prompt_logprobs)
        return {"index": choice.index, **said, "logprobs": logprobs, "finish_reason": choice.finish}

    def _echoed(self, tokens: Sequence[PromptToken]) -> JsonObject | None:
        """Returns the log probabilities of tokens of an echoed prompt; None if they are not asked for."""
        return None if self._echo_logprobs is None or not tokens else echo_logprobs(tokens, self._echo_logprobs)

    def _logprobs(self, index: int, tokens: Sequence[TokenLogprob]) -> JsonObject | None:
        """Returns the tokens' log probabilities in the format of a chat or a completion; None for no tokens."""
        if not tokens:
            return None
        if self._chat:
            return chat_logprobs(tokens)
        first = self._offsets.get(index, 0)
        self._offsets[index] = first + sum(len(token.text) for token in tokens)
        return completion_logprobs(tokens, first)

    def _open(self, index: int) -> str:
        """Returns the chunk with the role of a choice, once."""
        if index in self._opened:
            return ""
        self._opened.add(index)
        choice = {"delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
        return self._chunk_of({"index": index, **choice})

    def _chunk(
        self,
        index: int,
        said: JsonObject,
        finish: str | None,
        timings: JsonObject | None = None,
        progress: PromptRead | None = None,
    ) -> str:
        logprobs = self._logprobs(index, self._tokens.pop(index, []))
        choice = {"index": index, **said, "logprobs": logprobs, "finish_reason": finish}
        return self._chunk_of(choice, timings, progress)

    def _chunk_of(
        self, choice: JsonObject, timings: JsonObject | None = None, progress: PromptRead | None = None
    ) -> str:
        usage: JsonObject = {"usage": None} if self._include_usage else {}
        more = _timings(timings) | ({"prompt_progress": _progress(progress)} if progress else {})
        return _event(usage | self._head("chat.completion.chunk") | {"choices": [choice]} | more)

    def _head(self, kind: str) -> JsonObject:
        return {
            "id": self.id,
            "object": kind if self._chat else "text_completion",
            "created": self._created,
            "model": self._model,
        }


def usage_body(usage: Usage) -> JsonObject:
    """Returns the `usage` object."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.generated,
        "total_tokens": usage.prompt + usage.generated,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
    }


def _call(call: ToolCall) -> JsonObject:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _progress(event: PromptRead) -> JsonObject:
    return {
        "total": event.total,
        "cache": event.cached,
        "processed": event.processed,
        "time_ms": event.milliseconds,
    }


def _timings(timings: JsonObject | None) -> JsonObject:
    return {"timings": timings} if timings else {}


def _event(body: JsonObject) -> str:
    return f"data: {dumps(body)}\n\n"
