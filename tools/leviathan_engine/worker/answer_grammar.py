"""Constrains an answer to its grammar: which tokens are allowed next, and when the answer is complete.

The grammar begins after the thought, if there is one. If the model decides whether it writes what the grammar
describes, such as a tool call, the grammar begins after the token `grammar_after`.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leviathan_engine.model.grammar.vocabulary import Vocabulary
from leviathan_engine.worker.sampling_options import SamplingOptions
from leviathan_engine.worker.session import Unanswerable

KEPT = 32


@dataclass(frozen=True)
class Start:
    """llguidance's matcher at the beginning of a grammar, and the tokens with which llguidance ends any grammar."""

    matcher: Any
    ends: tuple[int, ...]


class Grammars:
    """Compiles grammars in a separate thread while prompts are read, and caches the last ones."""

    def __init__(self, folder: Path) -> None:
        """Starts to read the tokenizer in `folder`. The first grammar raises the errors of that."""
        self._thread = ThreadPoolExecutor(1, "grammars")
        self._vocabulary = self._thread.submit(Vocabulary, folder)
        self._starts: OrderedDict[str, Future[Start]] = OrderedDict()

    def start(self, grammar: str) -> Callable[[], Start]:
        """Starts to compile; returns a function that waits for the result and returns a matcher for one answer."""
        kept = self._starts.get(grammar) or self._thread.submit(self._compiled, grammar)
        self._starts[grammar] = kept
        self._starts.move_to_end(grammar)
        while len(self._starts) > KEPT:
            self._starts.popitem(last=False)
        return lambda: Start(kept.result().matcher.deep_copy(), kept.result().ends)

    def _compiled(self, grammar: str) -> Start:
        vocabulary = self._vocabulary.result()
        return Start(vocabulary.matcher(grammar), vocabulary.ends)


class AnswerGrammar:
    """Tracks the grammar along the tokens of one answer."""

    def __init__(self, start: Callable[[], Start], options: SamplingOptions, ends: Sequence[int]) -> None:
        """`start` returns the beginning of the grammar, and is called once; `ends` are tokens that end the answer."""
        self._start = start
        self._begun: Start | None = None
        self._options = options
        self._ends = frozenset(ends)
        self._inside = options.thinking
        self._may_open = options.think_open is not None and not options.thinking
        self._blanks: list[int] = []
        self._waiting = options.grammar_after is not None

    @property
    def bans(self) -> Sequence[int]:
        """Tokens that are forbidden before the grammar begins."""
        return self._options.grammar_bans if self._waiting and not self._inside else ()

    @property
    def finished(self) -> bool:
        """Whether the grammar is complete, so that no token may follow. Errors: Unanswerable."""
        return not (self._inside or self._waiting) and bool(self._grammar().matcher.is_stopped())

    def allowed(self, *, early: bool = False) -> bytearray | None:
        """Returns a bit mask of the tokens that are allowed next, least significant bit first; None: all tokens.

        `early` leaves out tokens that end the answer, unless no other token is allowed. Errors: Unanswerable.
        """
        if self._inside or self._waiting:
            return None
        grammar = self._grammar()
        mask = bytearray(grammar.matcher.compute_bitmask())
        self._check(grammar)
        _put(mask, grammar.ends, 0)
        if early:
            longer = bytearray(mask)
            _put(longer, self._ends, 0)
            mask = mask if _empty(longer) else longer
        if grammar.matcher.is_accepting() and (not early or _empty(mask)):
            _put(mask, self._ends, 1)
        if self._may_open and self._options.think_open is not None:
            _put(mask, [self._options.think_open], 1)
        _put(mask, self._blanks[:1], 1)
        if _empty(mask):
            raise Unanswerable("no token of this model can continue the answer within its grammar")
        return mask

    def take(self, token: int) -> None:
        """Advances the grammar by the chosen token. Errors: Unanswerable."""
        may_open, self._may_open = self._may_open, False
        if self._inside:
            if token == self._options.think_close:
                self._inside, self._blanks = False, list(self._options.think_end[1:])
        elif may_open and token == self._options.think_open:
            self._inside = True
        elif self._blanks[:1] == [token]:
            del self._blanks[0]
        elif self._waiting:
            self._blanks = []
            self._waiting = token != self._options.grammar_after
        elif token not in self._ends:
            self._blanks = []
            grammar = self._grammar()
            grammar.matcher.consume_token(token)
            self._check(grammar)

    def _grammar(self) -> Start:
        if self._begun is None:
            self._begun = self._start()
            self._check(self._begun)
        return self._begun

    def _check(self, grammar: Start) -> None:
        if grammar.matcher.is_error():
            first = (grammar.matcher.get_error().strip().splitlines() or ["unknown reason"])[0]
            raise Unanswerable(f"cannot apply the grammar to the answer: {first[:200]}")


def _empty(mask: bytearray) -> bool:
    """Whether no bit is set. A comparison ends at the first difference; counting took as long as the mask itself."""
    return mask == bytes(len(mask))


def _put(mask: bytearray, tokens: Iterable[int], bit: int) -> None:
    """Sets the bits of `tokens` to `bit`; extends a mask that is too short if `bit` is 1."""
    for token in tokens:
        place, least = divmod(token, 8)
        if place >= len(mask):
            if not bit:
                continue
            mask.extend(bytes(place + 1 - len(mask)))
        mask[place] = mask[place] & ~(1 << least) | bit << least
