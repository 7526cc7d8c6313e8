"""From how many tokens on a chunk is read sooner by the GPU, with experts streamed to it, than by the CPU: measured."""

import time
from collections.abc import Callable
from dataclasses import dataclass

# Tokens of the CPU's trial: enough for most experts of a layer to have several.
TRIAL_TOKENS = 256
# Fewer than this leave most experts without a token: the CPU reads those it needs alone.
LEAST = 32


@dataclass(frozen=True)
class Rates:
    """Seconds a layer takes: streamed to the GPU, whatever the number of tokens; and on the CPU for `tokens`."""

    streamed: float
    cpu: float
    tokens: int = TRIAL_TOKENS

    @property
    def threshold(self) -> int:
        """The least number of tokens for which streaming is not slower.

        The CPU's time is taken to grow with the tokens; it does at TRIAL_TOKENS and above.
        """
        if self.cpu <= 0:
            return LEAST
        return max(LEAST, round(self.streamed / self.cpu * self.tokens))


def measured(streamed: Callable[[], None], cpu: Callable[[], None], clock: Callable[[], float]) -> Rates:
    """Each once to warm up, then timed."""

    def seconds(work: Callable[[], None]) -> float:
        work()
        began = clock()
        work()
        return clock() - began

    return Rates(seconds(streamed), seconds(cpu))


def now() -> float:
    """Seconds of the clock that calibration uses."""
    return time.perf_counter()
