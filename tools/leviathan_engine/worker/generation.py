"""One job on the model, step by step: opens its sequence in the cache, reads the prompt in chunks, decodes.

A step leaves nothing behind that another job's step could not follow, so steps of several jobs may alternate.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from leviathan_engine.wire import Chosen, Job, PromptProgress
from leviathan_engine.worker.answer_grammar import AnswerGrammar, Grammars
from leviathan_engine.worker.sampling import Sampler
from leviathan_engine.worker.sampling_options import sampling_options
from leviathan_operators.cache import PAGE_TOKENS, PrefixCache


class Forward(Protocol):
    """The model's two steps. `pages` hold the sequence, with room for the tokens of the step."""

    def read(self, pages: Sequence[int], first: int, ids: Sequence[int]) -> Any:
        """Reads tokens at positions from `first` on; returns the logits of the last one."""

    def decode(self, pages: Sequence[int], position: int, token: int) -> Any:
        """Reads one generated token; returns its logits."""


class LastLogits:
    """The logits after the last prompts, by scope and tokens; the least recently used ones leave."""

    def __init__(self, most: int = 16) -> None:
        """Holds up to `most`; 0.5 MB each for DeepSeek-V3."""
        self._most = most
        self._logits: OrderedDict[tuple[str, tuple[int, ...]], Any] = OrderedDict()

    def get(self, job: Job) -> Any:
        """The logits after the job's prompt, None where they are not known."""
        logits = self._logits.get((job.scope, job.ids))
        if logits is not None:
            self._logits.move_to_end((job.scope, job.ids))
        return logits

    def keep(self, job: Job, logits: Any) -> None:
        """Keeps a copy of the logits after the job's prompt."""
        self._logits[job.scope, job.ids] = logits.clone()
        self._logits.move_to_end((job.scope, job.ids))
        while len(self._logits) > self._most:
            self._logits.popitem(last=False)


class Generation:
    """A job that is being answered. `close` must be called at its end, whatever ends it."""

    def __init__(
        self,
        forward: Forward,
        prefixes: PrefixCache,
        job: Job,
        chunk: int,
        answers: "LastLogits | None" = None,
        grammars: Grammars | None = None,
    ) -> None:
        """Opens the sequence with the longest prefix that is in the cache. Errors: CacheFull.

        With `answers` a prompt that is asked again is not read at all, and its answer is the same to the bit.
        `grammars` are needed for a job with one: it is compiled while the prompt is read.
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
        self._answers = answers
        self._logits: Any = None if answers is None else answers.get(job)
        self._sequence = prefixes.open(job.ids, job.scope, whole=self._logits is not None)
        self._chunks = even_chunks(self._sequence.reused, len(job.ids), chunk)

    @property
    def progress(self) -> PromptProgress:
        """How far the prompt has been read."""
        done = min(self._sequence.length, len(self._job.ids))
        return PromptProgress(self._job.id, len(self._job.ids), self._sequence.reused, done)

    def read(self) -> bool:
        """Reads one chunk of the prompt; False when nothing was left to read. Errors: CacheFull, and the model's."""
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        ids = self._job.ids[chunk[0] : chunk[1]]
        self._prefixes.reserve(self._sequence, chunk[1])
        self._logits = self._forward.read(self._sequence.pages, chunk[0], ids)
        self._prefixes.commit(self._sequence, ids)
        if self._answers is not None and self._sequence.length == len(self._job.ids):
            self._answers.keep(self._job, self._logits)
        return True

    @property
    def finished(self) -> bool:
        """Whether the answer's grammar allows nothing more. Errors: Unanswerable."""
        return self._sampler.finished

    def choose(self) -> int:
        """The next token, which may be one that ends the answer.

        Errors: EngineError when the logits are no numbers; Unanswerable.
        """
        return self._sampler(self._logits)

    def chosen(self, token: int) -> int | Chosen:
        """`token`, which was chosen last, with its log probability where that is asked for."""
        found = self._sampler.logprobs
        return token if found is None else Chosen(token, found.logprob, found.top)

    def decode(self, token: int) -> None:
        """Reads a token that was chosen. Errors: CacheFull, and the model's."""
        position = self._sequence.length
        self._prefixes.reserve(self._sequence, position + 1)
        self._logits = self._forward.decode(self._sequence.pages, position, token)
        self._prefixes.commit(self._sequence, [token])

    def close(self) -> None:
        """Leaves what was read to later jobs."""
        self._prefixes.close(self._sequence)


def even_chunks(first: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """The positions from `first` to before `end` in as few chunks of up to `most` tokens as it takes, of like length.

    A chunk ends with a page where it can.
    """
    while first < end:
        count = -(-(end - first) // most)
        length = -(-(end - first) // count)
        after = min(end, first + most, -(-(first + length) // PAGE_TOKENS) * PAGE_TOKENS)
        yield first, after
        first = after
