"""Chooses the next token from logits: the likeliest one at temperature 0, else by top-p sampling with a seed."""

from importlib import import_module
from typing import Any

from leviathan_engine.errors import EngineError

# Less than this is taken as 0: 1e-50 *is* 0 as a 32-bit float, and dividing by it, or keeping only what is below it,
# would leave nothing to draw from. A top_p of 1e-6 keeps one token of 129,280 in any case.
LEAST = 1e-6


class Sampler:
    """The choice for one answer. The same seed and logits give the same tokens on the same device."""

    def __init__(self, temperature: float, top_p: float, seed: int | None) -> None:
        """`temperature` and `top_p` below LEAST take the likeliest token; `seed` None takes a new one."""
        self._torch = import_module("torch")
        self._temperature = temperature
        self._top_p = top_p
        self._seed = seed
        self._generator: Any = None

    def __call__(self, logits: Any) -> int:
        """The token for `logits`, a tensor of one dimension. Errors: EngineError when they are no numbers."""
        torch = self._torch
        logits = logits.float()
        best = int(logits.argmax())
        if not bool(torch.isfinite(logits[best])):
            raise EngineError("the engine computed no numbers (NaN)", "check the model's files and the GPUs")
        if self._temperature < LEAST or self._top_p < LEAST:
            return best
        chances = torch.softmax((logits - logits[best]) / self._temperature, dim=-1)
        if self._top_p < 1:
            ordered, places = chances.sort(descending=True)
            # A token stays while those before it have not reached top_p; so the first one always stays.
            kept = torch.where(ordered.cumsum(-1) - ordered < self._top_p, ordered, 0.0)
            return int(places[self._draw(kept)])
        return self._draw(chances)

    def _draw(self, weights: Any) -> int:
        if self._generator is None:
            self._generator = self._torch.Generator(device=weights.device)
            if self._seed is None:
                self._generator.seed()
            else:
                self._generator.manual_seed(self._seed)
        return int(self._torch.multinomial(weights, 1, generator=self._generator))
