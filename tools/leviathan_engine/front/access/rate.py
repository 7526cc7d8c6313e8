"""A token bucket."""

import time
from collections.abc import Callable


class Bucket:
    """Holds up to `size`, and fills at a rate of `size` per `seconds`. `spend` may make the level negative."""

    def __init__(self, size: float, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts full. `clock` returns seconds."""
        self._size = size
        self._rate = size / seconds
        self._clock = clock
        self._level = float(size)
        self._at = clock()

    def take(self, amount: float) -> bool:
        """Takes `amount` if the bucket has it; returns whether it did."""
        self._fill()
        if self._level < amount:
            return False
        self._level -= amount
        return True

    def spend(self, amount: float) -> None:
        """Takes `amount` in any case; the level may become negative."""
        self._fill()
        self._level -= amount

    def wait(self, amount: float) -> float:
        """Returns the seconds until the bucket has `amount`, 0 if it has it."""
        self._fill()
        return max(0.0, (amount - self._level) / self._rate)

    def _fill(self) -> None:
        now = self._clock()
        self._level = min(self._size, self._level + (now - self._at) * self._rate)
        self._at = now
