"""The engine's memory under load: sampled once a second in a thread of its own, and judged by its low-water marks."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.background import meanwhile

from .engine_processes import ALL, engine_processes

#: Between two trims of its heap the engine's memory rises and falls by some 30 MB, so what counts is how low it comes:
#: early in the load, and late, each between two parts of the time in which clients begin requests.
EARLY, LATE = (1 / 6, 1 / 2), (2 / 3, 1.0)
#: Bytes by which the second may be above the first. Runs on two CPUs came to 6, 7, 11 and 19 MB; a leak of 34 MB in
#: 43 s is 47 MB from the beginning of the one to that of the other, with no other growth.
GROWTH = 45_000_000
FEWEST = 10  # samples in each, with fewer of which nothing is judged


@dataclass(frozen=True)
class Sample:
    """Seconds since the load began, and bytes of memory."""

    seconds: float
    size: int


def anonymous(node: int) -> int:
    """Bytes of anonymous memory of the engine's processes below the process `node`, the launcher's too (RssAnon)."""
    return sum(anonymous_of(process) for process in engine_processes(node, ALL))


def anonymous_of(process: int) -> int:
    """Bytes of anonymous memory of one process; 0 when it has ended (proc(5))."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:")), 0)


@contextmanager
def sampled(size: Callable[[], int], pause: float = 1.0) -> Iterator[list[Sample]]:
    """A sample every `pause` seconds as long as the block runs, in a list that grows.

    Arguments: `size`, the bytes now. Errors: those of `meanwhile`.
    """
    samples: list[Sample] = []
    begun = time.monotonic()
    with meanwhile(lambda: samples.append(Sample(time.monotonic() - begun, size())), pause):
        yield samples


def low(samples: Sequence[Sample], part: tuple[float, float], until: float) -> int:
    """The least of a part of the load, in bytes; `until`: how many seconds the clients began requests.

    Errors: ValueError when there are too few samples to tell.
    """
    sizes = [one.size for one in samples if part[0] * until <= one.seconds <= part[1] * until]
    if len(sizes) < FEWEST:
        raise ValueError(f"{len(sizes)} samples of memory in a part of the load, wanted {FEWEST}")
    return min(sizes)


def growth(samples: Sequence[Sample], until: float) -> int:
    """Bytes by which the late low-water mark is above the early one. Errors: ValueError as above."""
    return low(samples, LATE, until) - low(samples, EARLY, until)
