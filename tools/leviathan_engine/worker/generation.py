"""Runs one job on the model step by step: opens its sequence in the KV cache, reads the prompt in chunks, decodes.

Steps are independent of each other, so steps of several jobs may alternate.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

from leviathan_engine.wire import MESSAGE_LOGPROBS, Chosen, Job, PromptLogprobs, PromptProgress, PromptToken
from leviathan_engine.worker.answer_grammar import AnswerGrammar, Grammars
from leviathan_engine.worker.sampling import Sampler
from leviathan_engine.worker.sampling_options import sampling_options
from leviathan_operators.cache import PAGE_TOKENS, PrefixCache


class Forward(Protocol):
    """The model's two kinds of step. `pages` hold the sequence, and have room for the tokens of the step."""

    def read(self, pages: Sequence[int], first: int, ids: Sequence[int]) -> Any:
        """Reads tokens at positions from `first`; returns the logits of the last one."""

    def read_named(
        self, pages: Sequence[int], first: int, ids: Sequence[int], following: Sequence[int], most: int
    ) -> tuple[Any, Iterator[PromptToken]]:
        """As `read`; also returns the log probabilities of `following`, the tokens after each of `ids`.

        With each come those of the `most` most likely tokens. Take them before the next step.
        """

    def decode(self, pages: Sequence[int], position: int, token: int) -> Any:
        """Reads one generated token; returns its logits."""


class LastLogits:
    """An LRU cache of the logits after a prompt, by scope and tokens."""

    def __init__(self, most: int = 16) -> None:
        """Holds up to `most` entries; 0.5 MB each for DeepSeek-V3."""
        self._most = most
        self._logits: OrderedDict[tuple[str, tuple[int, ...]], Any] = OrderedDict()

    def get(self, job: Job) -> Any:
        """Returns the logits after the job's prompt, None if they are not cached."""
        logits = self._logits.get((job.scope, job.ids))
        if logits is not None:
            self._logits.move_to_end((job.scope, job.ids))
        return logits

    def keep(self, job: Job, logits: Any) -> None:
        """Stores a copy of the logits after the job's prompt."""
        self._logits[job.scope, job.ids] = logits.clone()
        self._logits.move_to_end((job.scope, job.ids))
        while len(self._logits) > self._most:
            self._logits.popitem(last=False)


class Generation:
    """A job that is being answered. The caller must call `close` at the end, also after an error."""

    def __init__(
        self,
        forward: Forward,
        prefixes: PrefixCache,
        job: Job,
        chunk: int,
        answers: "LastLogits | None" = None,
        grammars: Grammars | None = None,
    ) -> None:
        """Opens the sequence with the longest prefix that is in the prefix cache. Errors: CacheFull.

        With `answers`, a repeated prompt is not read again, and its logits are bit-identical. A job with a grammar
        needs `grammars`, which compile it while the prompt is read. For log probabilities of the prompt, all of it is
        read: the prefix cache has no hidden states.
        """
        self._forward = forward
        self._prefixes = prefixes
        self._job = job
        options = sampling_options(job.sampling)
        grammar = None
        if options.grammar is not None:
            assert grammars is not None
            grammar = AnswerGrammar(grammars.start(options.grammar), options, job.eos)
        self._sampler = Sampler(job.temperature, job.top_p, job.seed, options, job.ids, job.eos, grammar)
        self._options = options
        self._named: Iterator[PromptToken] = iter(())
        self._answers = answers
        again = options.prompt_logprobs is not None
        self._logits: Any = None if answers is None or again else answers.get(job)
        self._sequence = prefixes.open(() if again else job.ids, job.scope, whole=self._logits is not None)
        self._chunks = even_chunks(self._sequence.reused, len(job.ids), chunk)

    @property
    def progress(self) -> PromptProgress:
        """How much of the prompt is read."""
        done = min(self._sequence.length, len(self._job.ids))
        return PromptProgress(self._job.id, len(self._job.ids), self._sequence.reused, done)

    def read(self) -> bool:
        """Reads one chunk of the prompt; False if nothing was left to read. Errors: CacheFull, and the model's."""
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        ids = self._job.ids[chunk[0] : chunk[1]]
        self._prefixes.reserve(self._sequence, chunk[1])
        if self._options.prompt_logprobs is None:
            self._logits = self._forward.read(self._sequence.pages, chunk[0], ids)
        else:
            following, most = self._job.ids[chunk[0] + 1 : chunk[1] + 1], self._options.prompt_logprobs
            read = self._forward.read_named(self._sequence.pages, chunk[0], ids, following, most)
            self._logits, self._named = read
        self._prefixes.commit(self._sequence, ids)
        if self._answers is not None and self._sequence.length == len(self._job.ids):
            self._answers.keep(self._job, self._logits)
        return True

    def prompt_logprobs(self) -> Iterator[PromptLogprobs]:
        """Yields messages with the log probabilities of the chunk that was read last; nothing if not asked for."""
        size = max(1, MESSAGE_LOGPROBS // (1 + (self._options.prompt_logprobs or 0)))
        while tokens := tuple(islice(self._named, size)):
            yield PromptLogprobs(self._job.id, tokens)

    def tokens(self) -> Iterator[int | Chosen]:
        """Yields the answer's tokens; decodes each one before the next. The prompt must have been read.

        Errors: those of `choose` and `decode`.
        """
        while self._job.max_tokens and not self.finished:
            token = self.choose()
            ends = token in self._job.eos
            if not ends or self._options.end_logprob:
                yield self.chosen(token, ends=ends)
            if ends:
                return
            if not self.finished:
                self.decode(token)

    @property
    def finished(self) -> bool:
        """Whether the answer's grammar is complete. Errors: Unanswerable."""
        return self._sampler.finished

    def choose(self) -> int:
        """Chooses the next token, which may be one that ends the answer.

        Errors: EngineError if the logits are not numbers; Unanswerable.
        """
        return self._sampler(self._logits)

    def chosen(self, token: int, *, ends: bool = False) -> int | Chosen:
        """Returns `token`, which was chosen last, with its log probability if the job asks for it."""
        found = self._sampler.logprobs
        return token if found is None else Chosen(token, found.logprob, found.top, ends)

    def decode(self, token: int) -> None:
        """Reads a chosen token. Errors: CacheFull, and the model's."""
        position = self._sequence.length
        self._prefixes.reserve(self._sequence, position + 1)
        self._logits = self._forward.decode(self._sequence.pages, position, token)
        self._prefixes.commit(self._sequence, [token])

    def close(self) -> None:
        """Closes the sequence; the prefix cache keeps what was read for later jobs."""
        self._prefixes.close(self._sequence)


def even_chunks(first: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """Splits positions `first` to `end` - 1 into as few chunks of up to `most` tokens as possible, of similar length.

    If possible, a chunk ends at the end of a page.
    """
    while first < end:
        count = -(-(end - first) // most)
        length = -(-(end - first) // count)
        after = min(end, first + most, -(-(first + length) // PAGE_TOKENS) * PAGE_TOKENS)
        yield first, after
        first = after
