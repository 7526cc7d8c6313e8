"""What an answer has of its prompt: the echoed text, and the tokens with their log probabilities.

All choices of a prompt have the same, so the engine computes it for the first one.
"""

from collections.abc import Iterator
from dataclasses import replace

from leviathan_engine.model.chat_prompt import Prompts
from leviathan_engine.wire import PromptLogprobs

from .events import PromptDelta, PromptToken, TextDelta
from .planned import Planned
from .request import ChatPrompt, GenerationRequest, TextPrompt


class Echo:
    """The prompt of one choice and of those after it that have the same prompt."""

    def __init__(self, prompts: Prompts, request: GenerationRequest, planned: Planned) -> None:
        self._prompts = prompts
        self._prompt, self._ids = planned.prompt, planned.job.ids
        self._named = request.named_prompt is not None
        self._keep = request.drawn > 1
        self._kept: list[PromptDelta] = []
        self._texts: dict[int, str] = {}
        self._sent = self._started = 0
        self._text = ""
        if request.echo and not isinstance(self._prompt, ChatPrompt):
            self._text = self._prompt.text if isinstance(self._prompt, TextPrompt) else prompts.text(self._ids)

    def begin(self, index: int) -> Iterator[TextDelta | PromptDelta]:
        """Yields what is known before the prompt is read: all of it for a later choice, otherwise text and first token.

        The first token has no log probability, because nothing comes before it.
        """
        if not self._named:
            if self._text:
                yield TextDelta(index, self._text)
        elif self._sent:
            yield from (replace(delta, index=index) for delta in self._kept)
        else:
            first = self._ids[0]
            yield self._delta(index, self._text, (PromptToken(first, self._text_of(first), self._place(first)),))

    def more(self, index: int, found: PromptLogprobs) -> PromptDelta:
        """Returns the next tokens, with what the engine says of them."""
        tokens = [
            PromptToken(
                one.token,
                self._text_of(one.token),
                self._place(one.token),
                one.logprob,
                one.rank,
                tuple((token, self._text_of(token), logprob) for token, logprob in one.top),
            )
            for one in found.tokens
        ]
        return self._delta(index, "", tuple(tokens))

    def _delta(self, index: int, echo: str, tokens: tuple[PromptToken, ...]) -> PromptDelta:
        delta = PromptDelta(index, echo, tokens)
        if self._keep:
            self._kept.append(delta)
        return delta

    def _text_of(self, token: int) -> str:
        text = self._texts.get(token)
        if text is None:
            text = self._texts[token] = self._prompts.whole_text([token])
        return text

    def _place(self, token: int) -> int:
        """Returns the index in the echoed text of the character in which the next token begins.

        Characters are counted by their first bytes in UTF-8, because a token may begin or end within one.
        """
        raw = b"" if self._hidden(token) else self._prompts.token_bytes(token)
        place = self._started - (1 if self._started and raw[:1] and _continues(raw[0]) else 0)
        self._started += sum(not _continues(byte) for byte in raw)
        self._sent += 1
        return place

    def _hidden(self, token: int) -> bool:
        """Whether the next token is not in the echoed text: the token that begins a prompt of text; of ids, any special
        token."""
        if not isinstance(self._prompt, TextPrompt):
            return self._prompts.special(token)
        if self._sent or not self._prompts.special(token):
            return False
        return token == self._prompts.first or not self._prompt.text.startswith(self._text_of(token))


def _continues(byte: int) -> bool:
    """Whether a byte of UTF-8 is not the first one of its character."""
    return byte & 0xC0 == 0x80
