"""Returns free memory of the C heap to the kernel.

glibc only returns free memory at the end of the heap. torch's aligned tensors leave holes that the next request does
not fill (glibc before 2.38, as in Debian 12): an engine that answered 1,800 short requests on the CPU held 9.6 GB, of
which 0.8 GB was in use; malloc_trim(3) returned the rest.
"""

import ctypes
import time

#: Seconds between two trims: about 30 MB accumulate meanwhile, and trimming them takes milliseconds.
PERIOD_SECONDS = 1.0


class Heap:
    """Trims the heap at intervals; does nothing if the C library is not glibc."""

    def __init__(self) -> None:
        """Does not trim yet."""
        self._trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        self._next = 0.0

    def rest(self) -> None:
        """Trims the heap, unless the last trim was less than an interval ago. Call it between two answers."""
        if self._trim is not None and time.monotonic() >= self._next:
            self._trim(ctypes.c_size_t(0))
            self._next = time.monotonic() + PERIOD_SECONDS
