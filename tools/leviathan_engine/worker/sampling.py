"""Chooses the next token from logits: the most likely one at temperature 0, otherwise by sampling with a seed.

The order is vLLM's: penalties, logit_bias and min_tokens change the logits; the grammar removes tokens that it does not
allow; the temperature divides the logits; min_p, top_k, typical_p and top_p remove tokens, one after the other; one of
the remaining tokens is drawn. Log probabilities are the model's own, before any of these changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from leviathan_engine.errors import EngineError
from leviathan_engine.worker.answer_grammar import AnswerGrammar
from leviathan_engine.worker.sampling_options import SamplingOptions
from leviathan_engine.worker.thought_budget import ThoughtBudget

# Smaller values count as 0: 1e-50 is 0 as a 32-bit float, and dividing by it, or keeping only tokens below it, would
# leave no token to draw. A top_p of 1e-6 keeps one token of 129,280 in any case.
LEAST = 1e-6
NEVER = float("-inf")


def not_numbers() -> EngineError:
    """Returns the error for logits of which the largest is NaN or infinite."""
    return EngineError(
        "the model computed logits that are not numbers (NaN)",
        "verify the model's files (leviathan model --sha256), and check the GPUs with dmesg on the node",
    )


@dataclass(frozen=True)
class Logprobs:
    """The natural logarithm of a token's probability, and the most likely tokens with theirs, in descending order."""

    logprob: float
    top: tuple[tuple[int, float], ...]


class Sampler:
    """Chooses the tokens of one answer. The same seed and logits give the same tokens on the same device.

    `logprobs` belongs to the token that was chosen last; None if the job does not ask for it.
    """

    def __init__(
        self,
        temperature: float,
        top_p: float,
        seed: int | None,
        options: SamplingOptions | None = None,
        prompt: Sequence[int] = (),
        ends: Sequence[int] = (),
        grammar: AnswerGrammar | None = None,
    ) -> None:
        """`temperature` and `top_p` below LEAST take the most likely token; `seed` None uses a random seed.

        `prompt` are the tokens that repetition_penalty also counts, `ends` those that min_tokens forbids. The answer
        follows `grammar`.
        """
        self._torch = import_module("torch")
        self._temperature = temperature
        self._top_p = top_p
        self._seed = seed
        self._options = options or SamplingOptions()
        self._prompt = tuple(prompt)
        self._ends = tuple(ends)
        self._grammar = grammar
        self._budget = ThoughtBudget(self._options)
        self._generator: Any = None
        self._count: Any = None
        self._seen: Any = None
        self._chosen = 0
        self.logprobs: Logprobs | None = None

    def __call__(self, logits: Any) -> int:
        """Chooses the token for `logits`, a tensor of one dimension.

        Errors: EngineError if they are not numbers, Unanswerable if the grammar cannot be followed.
        """
        logits = logits.float()
        if not bool(self._torch.isfinite(logits[logits.argmax()])):
            raise not_numbers()
        token = self._budget.take(self._choose(self._changed(logits)))
        if self._grammar is not None:
            self._grammar.take(token)
        self._note(logits, token)
        return token

    @property
    def finished(self) -> bool:
        """Whether the grammar is complete, so that no token may follow. Errors: Unanswerable."""
        return self._grammar is not None and self._grammar.finished

    def _choose(self, logits: Any) -> int:
        torch, options = self._torch, self._options
        best = int(logits.argmax())
        if self._temperature < LEAST or self._top_p < LEAST:
            return best
        chances = torch.softmax((logits - logits[best]) / self._temperature, dim=-1)
        if options.min_p > 0:
            chances = torch.where(chances >= options.min_p * chances[best], chances, 0.0)
        if 0 < options.top_k < len(chances):
            values, places = chances.topk(options.top_k)
            chances = torch.zeros_like(chances).scatter_(0, places, values)
        if options.typical_p < 1:
            chances = self._typical(chances)
        if self._top_p < 1:
            ordered, places = (chances / chances.sum()).sort(descending=True)
            # A token stays if those before it sum to less than top_p, so the first one always stays.
            kept = torch.where(ordered.cumsum(-1) - ordered < self._top_p, ordered, 0.0)
            return int(places[self._draw(kept)])
        return self._draw(chances)

    def _typical(self, chances: Any) -> Any:
        """Keeps the tokens whose information is closest to the entropy, up to a sum of typical_p (arXiv 2202.00666)."""
        torch = self._torch
        shares = chances / chances.sum()
        information = -torch.log(shares)
        entropy = torch.where(shares > 0, shares * information, 0.0).sum()
        far = torch.where(shares > 0, (information - entropy).abs(), float("inf"))
        _, places = far.sort(stable=True)
        ordered = shares[places]
        kept = torch.where(ordered.cumsum(-1) - ordered < self._options.typical_p, ordered, 0.0)
        return torch.zeros_like(shares).scatter_(0, places, kept)

    def _changed(self, logits: Any) -> Any:
        """Returns the logits with penalties and bias, and without the answer's end tokens before min_tokens."""
        torch, options = self._torch, self._options
        if self._penalises():
            self._prepare(logits)
            if options.repetition_penalty != 1:
                weaker = torch.where(
                    logits > 0, logits / options.repetition_penalty, logits * options.repetition_penalty
                )
                logits = torch.where(self._seen, weaker, logits)
            logits = logits - options.frequency_penalty * self._count - options.presence_penalty * (self._count > 0)
        if options.logit_bias:
            tokens, biases = zip(*options.logit_bias, strict=True)
            places = torch.tensor(tokens, device=logits.device)
            logits = logits.index_add(0, places, torch.tensor(biases, device=logits.device, dtype=logits.dtype))
        early = self._chosen < options.min_tokens
        mask = self._grammar.allowed(early=early) if self._grammar is not None else None
        if mask is not None:
            return self._masked(logits, mask)
        banned = (*(self._ends if early else ()), *(self._grammar.bans if self._grammar is not None else ()))
        return logits.index_fill(0, torch.tensor(banned, device=logits.device), NEVER) if banned else logits

    def _masked(self, logits: Any, mask: bytearray) -> Any:
        """Returns the logits, with -inf for tokens whose bit is not set in the mask."""
        torch = self._torch
        mask.extend(bytes(max(0, (len(logits) + 7) // 8 - len(mask))))
        places = torch.frombuffer(mask, dtype=torch.uint8).to(logits.device)
        bits = places.unsqueeze(1) >> torch.arange(8, dtype=torch.uint8, device=logits.device) & 1
        return logits.masked_fill(bits.view(-1)[: len(logits)] == 0, NEVER)

    def _penalises(self) -> bool:
        options = self._options
        return bool(options.presence_penalty or options.frequency_penalty or options.repetition_penalty != 1)

    def _prepare(self, logits: Any) -> None:
        """Creates the counts of generated tokens and the flags of seen tokens, once."""
        if self._count is None:
            torch = self._torch
            self._count = torch.zeros_like(logits)
            self._seen = torch.zeros_like(logits, dtype=torch.bool)
            if self._prompt:
                self._seen[torch.tensor(self._prompt, device=logits.device)] = True

    def _note(self, logits: Any, token: int) -> None:
        """Counts the token, and looks up its log probability if the job asks for it."""
        self._chosen += 1
        if self._count is not None:
            self._count[token] += 1
            self._seen[token] = True
        if self._options.logprobs is not None:
            logs = self._torch.log_softmax(logits, dim=-1)
            values, places = logs.topk(min(self._options.logprobs, len(logs)))
            top = tuple(zip(places.tolist(), values.tolist(), strict=True))
            self.logprobs = Logprobs(float(logs[token]), top)

    def _draw(self, weights: Any) -> int:
        if self._generator is None:
            self._generator = self._torch.Generator(device=weights.device)
            if self._seed is None:
                self._generator.seed()
            else:
                self._generator.manual_seed(self._seed)
        return int(self._torch.multinomial(weights, 1, generator=self._generator))
