"""Gives free memory of the C heap back to the kernel.

glibc returns what lies free at the heap's end only. torch's aligned tensors leave holes that the next request does not
fill (glibc before 2.38, as in Debian 12): an engine that answered 1,800 short requests on the CPU held 9.6 GB, of which
0.8 GB was in use; malloc_trim(3) gave the rest back.
"""

import ctypes
import time

#: Seconds between two trims: what is left over meanwhile is some 30 MB, and a trim of that costs milliseconds.
PERIOD_SECONDS = 1.0


class Heap:
    """Trims now and then; nothing where the C library is not glibc."""

    def __init__(self) -> None:
        """Nothing is trimmed yet."""
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._next = 0.0

    def rest(self) -> None:
        """To be called between two answers: gives back what is free unless that was done a moment ago."""
        if self._trim is not None and time.monotonic() >= self._next:
            self._trim(ctypes.c_size_t(0))
            self._next = time.monotonic() + PERIOD_SECONDS
