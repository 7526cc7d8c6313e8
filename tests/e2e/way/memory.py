"""The engine's memory under load: sampled once a second in a thread of its own, and judged by its slope."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from .engine_processes import ALL, engine_processes

WARM_UP = 2 / 3  # of the load: the C heap's arenas and the caches grow to their plateau in it
#: What the answers after the warm-up may leave behind, in bytes: each, and all together. A run on two CPUs still grew
#: by 33,000 for each in its last third, on the way to the plateau (517 to 529 MB); a leak of 25 MB in 43 s at its 8.6
#: answers a second is 68,000. On a machine with so much else to do that few answers come, a few MB of free heap
#: between two trims are much for each, so that all together must be more than those as well.
LEAK, NOISE = 50_000, 8_000_000
FEWEST = 10  # samples after the warm-up, with fewer of which no line is drawn


@dataclass(frozen=True)
class Sample:
    """Seconds since the load began, answers so far, and bytes of memory."""

    seconds: float
    answers: int
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


class Sampler:
    """Takes a sample every `pause` seconds as long as its block runs.

    Arguments: `size`, the bytes now; `answers`, the answers so far.
    """

    def __init__(self, size: Callable[[], int], answers: Callable[[], int], pause: float = 1.0) -> None:
        self.samples: list[Sample] = []
        self._size, self._answers, self._pause = size, answers, pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="memory", daemon=True)

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(30)

    def _work(self) -> None:
        begun = time.monotonic()
        while not self._over.is_set():
            self.samples.append(Sample(time.monotonic() - begun, self._answers(), self._size()))
            self._over.wait(self._pause)


def after_warm_up(samples: Sequence[Sample], until: float) -> list[Sample]:
    """Those of the load's second part; `until`: how many seconds the clients began requests.

    What comes after that is left out: with clients that have ended, memory falls.
    """
    return [one for one in samples if WARM_UP * until <= one.seconds <= until]


def slope(pairs: Sequence[tuple[float, float]]) -> float:
    """Of the straight line through (x, y) by least squares. Errors: ValueError unless two of the x differ."""
    middle_x, middle_y = (sum(column) / len(pairs) for column in zip(*pairs, strict=True)) if pairs else (0.0, 0.0)
    width = sum((x - middle_x) ** 2 for x, _ in pairs)
    if not width:
        raise ValueError(f"no line goes through {len(pairs)} points of one place")
    return sum((x - middle_x) * (y - middle_y) for x, y in pairs) / width


def per_answer(samples: Sequence[Sample]) -> float:
    """Bytes by which memory grew with each answer. Errors: ValueError when there are too few samples to tell."""
    if len(samples) < FEWEST:
        raise ValueError(f"{len(samples)} samples of memory after the warm-up, wanted {FEWEST}")
    return slope([(one.answers, one.size) for one in samples])


def per_minute(samples: Sequence[Sample]) -> float:
    """Bytes by which memory grew in a minute. Errors: ValueError as above."""
    return slope([(one.seconds / 60, one.size) for one in samples])


def leaks(samples: Sequence[Sample]) -> bool:
    """Whether memory grew by too much with each answer and in all. Errors: ValueError as above."""
    span = samples[-1].seconds - samples[0].seconds if samples else 0.0
    return per_answer(samples) > LEAK and per_minute(samples) * span / 60 > NOISE
