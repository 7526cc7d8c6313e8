"""How many threads the CPU experts get: a few counts are tried on the loaded layers, and the quickest is kept.

The launcher computes a count from the CPUs that the container may use and from the model's shape (machine/cpu.py). That
says nothing of the memory's rate, of hyperthreads or of neighbours, so the worker measures, once for a machine: the
count is kept in the state folder together with what it depends on.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

BUDGET_SECONDS = 1.5
ROUNDS = 3
# A count with more threads must be quicker by this much: fewer leave room for everything else on the machine.
WORTH = 0.98

Step = Callable[[int], float]


@dataclass(frozen=True)
class Circumstances:
    """What a choice depends on: the CPU's name, the most threads, cores, the experts' build and their bytes a token."""

    cpu: str
    most: int
    cores: int
    march: str
    token_bytes: int


@dataclass(frozen=True)
class Choice:
    """`count` for CPUInfer; `rate`, bytes of experts a second, None where nothing was measured; `how` in words."""

    count: int
    rate: float | None
    how: str


def candidates(computed: int, most: int, cores: int) -> tuple[int, ...]:
    """The counts to try, ascending: the computed one, those around the number of cores, and the largest.

    CPUInfer(n) computes with n - 1 threads, so one thread a core is n = `cores` + 1. None is above `most` or below 2.
    """
    wanted = {computed, most, most - 1, most - 2, most * 3 // 4, cores + 1, cores, cores - 1}
    return tuple(sorted(n for n in wanted if 2 <= n <= most)) or (2,)


def quickest(times: dict[int, float]) -> int:
    """The count with the shortest time, or a smaller one that is nearly as quick."""
    best = min(times.values())
    return min(count for count, seconds in times.items() if seconds * WORTH <= best)


def measure(
    counts: Sequence[int], step: Step, budget: float = BUDGET_SECONDS, clock: Callable[[], float] = time.perf_counter
) -> dict[int, float]:
    """The shortest time of `step(count)` for each count, in seconds; empty when one round does not fit `budget`.

    Counts take turns, so that another process that wakes up meets them all; the first round warms up and is not kept.
    """
    began = clock()
    times: dict[int, float] = {}
    for turn in range(ROUNDS + 1):
        for count in counts:
            seconds = step(count)
            if turn:
                times[count] = min(seconds, times.get(count, seconds))
            if not turn and clock() - began > budget:
                return {}
        if clock() - began > budget:
            break
    return times


def choose(
    here: Circumstances, computed: int, step: Callable[[], Step], memory: Path, budget: float = BUDGET_SECONDS
) -> Choice:
    """The count to use: the one that `memory` has for such a machine, else the quickest measured, else `computed`.

    Arguments: `step` gives the function to measure with, only called where something is measured; `memory`, the file
    that keeps the choice. A file that cannot be read or written changes nothing but the time that the start takes.
    """
    if (kept := _recall(memory, here)) is not None:
        return kept
    times = measure(candidates(computed, here.most, here.cores), step(), budget)
    if not times:
        return Choice(computed, None, f"computed; a measurement did not fit {budget:g} s, is the disk being read?")
    count = quickest(times)
    listed = ", ".join(f"{n}: {seconds * 1e3:.1f} ms" for n, seconds in sorted(times.items()))
    choice = Choice(count, here.token_bytes / times[count], f"measured ({listed})")
    _remember(memory, here, choice)
    return choice


def _recall(memory: Path, here: Circumstances) -> Choice | None:
    try:
        kept = json.loads(memory.read_text(encoding="utf-8"))
        if kept["circumstances"] != asdict(here) or not 2 <= int(kept["count"]) <= here.most:
            return None
        return Choice(int(kept["count"]), float(kept["rate"]), f"measured at an earlier start, {memory}")
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(memory: Path, here: Circumstances, choice: Choice) -> None:
    text = json.dumps({"circumstances": asdict(here), "count": choice.count, "rate": choice.rate})
    try:
        memory.write_text(text + "\n", encoding="utf-8")
    except OSError:
        return  # measured again at the next start
