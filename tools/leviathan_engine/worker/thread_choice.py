"""Chooses the number of threads for the CPU experts: measures a few counts on the loaded layers, takes the fastest.

The launcher computes a count from the container's CPUs and the model's shape (machine/cpu.py). It cannot know the
memory bandwidth, the effect of hyperthreads or other load, so the worker measures once per machine, and stores the
count in the state folder together with what it depends on.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from leviathan_engine.machine.cpu import STRIDE

BUDGET_SECONDS = 1.5
ROUNDS = 3
# A larger count must be faster by this factor, because fewer threads leave CPUs for everything else on the machine.
WORTH = 0.98

Step = Callable[[int], float]


@dataclass(frozen=True)
class Circumstances:
    """What a choice depends on: the CPU's name, the maximum count, cores, the experts' build, bytes per token, and the
    rows of a task."""

    cpu: str
    most: int
    cores: int
    march: str
    token_bytes: int
    task_rows: int = STRIDE


@dataclass(frozen=True)
class Choice:
    """`count` for CPUInfer; `rate` in bytes of experts per second, None without a measurement; `how` it was chosen."""

    count: int
    rate: float | None
    how: str


def candidates(computed: int, most: int, cores: int) -> tuple[int, ...]:
    """Returns the counts to try, ascending: the computed one, those around the number of cores, and the largest.

    CPUInfer(n) computes with n - 1 threads, so one thread per core is n = `cores` + 1. All are from 2 to `most`.
    """
    wanted = {computed, most, most - 1, most - 2, most * 3 // 4, cores + 1, cores, cores - 1}
    return tuple(sorted(n for n in wanted if 2 <= n <= most)) or (2,)


def quickest(times: dict[int, float]) -> int:
    """Returns the count with the shortest time, or a smaller one that is nearly as fast."""
    best = min(times.values())
    return min(count for count, seconds in times.items() if seconds * WORTH <= best)


def measure(
    counts: Sequence[int], step: Step, budget: float = BUDGET_SECONDS, clock: Callable[[], float] = time.perf_counter
) -> dict[int, float]:
    """Returns the shortest time of `step(count)` for each count in seconds; empty if one round exceeds `budget`.

    The counts alternate, so that load from another process affects all of them; the first round is a warm-up.
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
    """Chooses the count: the one stored in `memory` for this machine, or else the fastest measured, or else `computed`.

    Arguments: `step` returns the function to measure with, and is only called for a measurement; `memory` is the file
    that stores the choice. If it cannot be read or written, every start measures again.
    """
    if (kept := _recall(memory, here)) is not None:
        return kept
    times = measure(candidates(computed, here.most, here.cores), step(), budget)
    if not times:
        return Choice(
            computed, None, f"computed, because a measurement takes more than {budget:g} s (the disk may be busy)"
        )
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
        return Choice(int(kept["count"]), float(kept["rate"]), f"measured at an earlier start, from {memory}")
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(memory: Path, here: Circumstances, choice: Choice) -> None:
    text = json.dumps({"circumstances": asdict(here), "count": choice.count, "rate": choice.rate})
    try:
        memory.write_text(text + "\n", encoding="utf-8")
    except OSError:
        return  # the next start measures again
