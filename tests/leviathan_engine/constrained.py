"""An engine of random logits that keeps to a grammar, as the worker does: what it says, without torch and a model."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from leviathan_engine.model.grammar.compose import Composer
from leviathan_engine.model.grammar.vocabulary import Vocabulary
from leviathan_engine.model.tool_format import CALLS_END
from leviathan_engine.worker.answer_grammar import AnswerGrammar, Start
from leviathan_engine.worker.sampling_options import SamplingOptions

# From this token on it wants to come to an end: what closes strings and brackets, and the end itself, is likelier.
TIRED, MOST = 25, 400
CLOSING = 30.0


class Babbler:
    """Random answers in the tokens of one vocabulary."""

    def __init__(self, vocabulary: Vocabulary, token_bytes: Callable[[int], bytes], size: int) -> None:
        """`size` is how many tokens there are."""
        self.vocabulary = vocabulary
        self.composer = Composer(vocabulary)
        self.bytes = token_bytes
        self.closing = np.array([self._closes(token) for token in range(size)], np.float32)

    def _closes(self, token: int) -> float:
        """How much a token brings an answer to its end: quotes, the @ that an address still needs, brackets."""
        text = self.bytes(token)
        if token in self.vocabulary.ends or text == b'"':
            return 3 * CLOSING
        if text in (b"@", CALLS_END.encode()):
            return 2 * CLOSING
        return CLOSING if 0 < len(text) < 4 and not text.strip(b'"}]') else 0

    def start(self, grammar: str) -> Callable[[], Start]:
        """As the worker's Grammars, without its thread."""
        return lambda: Start(self.vocabulary.matcher(grammar), self.vocabulary.ends)

    def says(
        self, grammar: str, temperature: float, seed: int, first: Sequence[int] = (), **options: Any
    ) -> tuple[list[int], bool]:
        """The tokens of an answer without its end, and whether it came to one; it begins with the tokens `first`."""
        chance = np.random.default_rng(seed)
        ends = options.pop("ends", self.vocabulary.ends)
        given = SamplingOptions(grammar=grammar, **options)
        following = AnswerGrammar(self.start(grammar), given, ends)
        out: list[int] = []
        while len(out) < MOST:
            if following.finished:
                return out, True
            logits = chance.standard_normal(len(self.closing), np.float32)
            if len(out) >= TIRED:
                logits += self.closing
            mask = following.allowed(early=len(out) < given.min_tokens)
            if mask is not None:
                bits = np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little")[: len(logits)]
                logits[: len(bits)][bits == 0] = -np.inf
                logits[len(bits) :] = -np.inf
            if temperature:
                logits = logits / temperature - np.log(
                    np.maximum(chance.standard_exponential(len(logits), np.float32), 1e-30)
                )
            logits[list(following.bans)] = -np.inf
            token = first[len(out)] if len(out) < len(first) else int(logits.argmax())
            following.take(token)
            if token in ends:
                return out, True
            out.append(token)
        return out, False

    def text(self, tokens: list[int]) -> str:
        """The text of tokens. Errors: UnicodeDecodeError."""
        return b"".join(map(self.bytes, tokens)).decode()


def form(kind: str, value: Any) -> dict[str, Any]:
    """A demand for a form of the text."""
    return {"answer": {"kind": kind, "value": value, "where": "field"}, "calls": None}


def closed(**properties: Any) -> dict[str, Any]:
    """The schema of an object that has exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def parsed(text: str) -> Any:
    """The JSON value of a text."""
    return json.loads(text)
