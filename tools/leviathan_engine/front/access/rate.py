"""A token bucket: so much at once, and as much again over a period."""

import time
from collections.abc import Callable


class Bucket:
    """Holds up to `size` and fills at `size` each `seconds`. What is spent may exceed what is there."""

    def __init__(self, size: float, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Full. `clock` gives seconds."""
        self._size = size
        self._rate = size / seconds
        self._clock = clock
        self._level = float(size)
        self._at = clock()

    def take(self, amount: float) -> bool:
        """Takes `amount` when it is there."""
        self._fill()
        if self._level < amount:
            return False
        self._level -= amount
        return True

    def spend(self, amount: float) -> None:
        """Takes `amount`, whether or not it is there: the bucket then has to fill from below zero."""
        self._fill()
        self._level -= amount

    def wait(self, amount: float) -> float:
        """Seconds until `amount` is there, 0 when it is."""
        self._fill()
        return max(0.0, (amount - self._level) / self._rate)

    def _fill(self) -> None:
        now = self._clock()
        self._level = min(self._size, self._level + (now - self._at) * self._rate)
        self._at = now
