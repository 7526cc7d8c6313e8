"""Keeps an answer to its grammar: which tokens may come next, and when nothing may come any more.

The grammar begins after the thought, where there is one, or after a token of its own (`grammar_after`), where the model
decides itself whether it writes what the grammar is for.
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
    """llguidance's matcher at the beginning of a grammar, and the tokens that end any grammar there."""

    matcher: Any
    ends: tuple[int, ...]


class Grammars:
    """Compiles grammars in a thread of its own, while prompts are read, and keeps the last ones."""

    def __init__(self, folder: Path) -> None:
        """`folder` has the tokenizer, which is read at once. Errors of it come with the first grammar."""
        self._thread = ThreadPoolExecutor(1, "grammars")
        self._vocabulary = self._thread.submit(Vocabulary, folder)
        self._starts: OrderedDict[str, Future[Start]] = OrderedDict()

    def start(self, grammar: str) -> Callable[[], Start]:
        """Begins to compile; what is returned waits until that is done, and gives a matcher for one answer."""
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
    """Follows one answer's tokens."""

    def __init__(self, start: Callable[[], Start], options: SamplingOptions, ends: Sequence[int]) -> None:
        """`start` gives the grammar's beginning, once; `ends` are the tokens that end the answer."""
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
        """Tokens that may not come although the grammar has not begun."""
        return self._options.grammar_bans if self._waiting and not self._inside else ()

    @property
    def finished(self) -> bool:
        """Whether the grammar allows nothing more. Errors: Unanswerable."""
        return not (self._inside or self._waiting) and bool(self._grammar().matcher.is_stopped())

    def allowed(self, *, early: bool = False) -> bytearray | None:
        """A bit for each token that may come next, the first token's being the least of the first byte; None: any.

        `early`: not one that ends the answer, unless no other may come. Errors: Unanswerable.
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
            raise Unanswerable("no token of this model continues the answer as its grammar wants it")
        return mask

    def take(self, token: int) -> None:
        """Notes the token that has come. Errors: Unanswerable."""
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
            first = (grammar.matcher.get_error().strip().splitlines() or ["no reason is known"])[0]
            raise Unanswerable(f"the answer cannot be kept to its grammar: {first[:200]}")


def _empty(mask: bytearray) -> bool:
    """Whether no bit is set; `any` would look at each byte in Python."""
    return mask.count(0) == len(mask)


def _put(mask: bytearray, tokens: Iterable[int], bit: int) -> None:
    """Sets the bits of tokens to `bit`; a mask that is too short for a token grows for a 1."""
    for token in tokens:
        place, least = divmod(token, 8)
        if place >= len(mask):
            if not bit:
                continue
            mask.extend(bytes(place + 1 - len(mask)))
        mask[place] = mask[place] & ~(1 << least) | bit << least
