"""Measures from which number of tokens the GPU, with streamed experts, reads a chunk faster than the CPU."""

import time
from collections.abc import Callable
from dataclasses import dataclass

# Tokens of the CPU's measurement: enough that most experts of a layer get several.
TRIAL_TOKENS = 256
# With fewer tokens than this, most experts get none, and the CPU only reads the experts that it needs.
LEAST = 32


@dataclass(frozen=True)
class Rates:
    """Seconds of a layer: `streamed` to the GPU, for any number of tokens, and on the `cpu` for `tokens` tokens."""

    streamed: float
    cpu: float
    tokens: int = TRIAL_TOKENS

    @property
    def threshold(self) -> int:
        """The smallest number of tokens for which streaming is not slower.

        Assumes that the CPU's time is proportional to the tokens, which is true from TRIAL_TOKENS.
        """
        if self.cpu <= 0:
            return LEAST
        return max(LEAST, round(self.streamed / self.cpu * self.tokens))


def seconds(work: Callable[[], None]) -> float:
    """Runs a function once to warm up, then returns the seconds of a second time."""
    work()
    began = now()
    work()
    return now() - began


def now() -> float:
    """Returns the seconds of the clock for the calibration."""
    return time.perf_counter()
