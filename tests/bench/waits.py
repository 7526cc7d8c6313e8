"""What the CPU experts' threads cost besides their work: `python3 -m tests.bench.waits EXTENSION.so THREADS`.

Prints JSON. A small layer (256 x 2048, 8 of 16 experts: 9 MB, from the cache), so that waits are much of a step.
Microseconds, the quickest and the median: a step, a task without work, a step after 0.5 ms and after 120 ms of rest;
and the CPU time of idle threads, in CPUs. A build is compared with another by running both in turns.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .moe_worker import BF16, Q4_K, Q6_K, Array, load

HIDDEN, WIDTH, EXPERTS, PER_TOKEN = 256, 2048, 16, 8
SECONDS = 1.0
BLOCK = {Q4_K: 144, Q6_K: 210}  # bytes of 256 values


def weights(kind: int, rows: int, columns: int) -> Array:
    """Zeros: what is computed does not matter, and takes as long."""
    return np.zeros((EXPERTS, rows, columns // 256 * BLOCK[kind]), np.uint8)


def timed(work: Callable[[], None], rest: float, rounds: int, seconds: float = SECONDS) -> tuple[float, float]:
    """The quickest and the median of `work`, in microseconds, with `rest` seconds before each."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < rounds or time.perf_counter() < end:
        if rest:
            time.sleep(rest)
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1e6)
    return round(min(times), 2), round(statistics.median(times), 2)


def main(extension: Path, threads: int) -> dict[str, object]:
    """All figures of one build."""
    module = load("cpuinfer_ext", extension)
    layer = (weights(Q4_K, WIDTH, HIDDEN), weights(Q4_K, WIDTH, HIDDEN), weights(Q6_K, HIDDEN, WIDTH))
    pointers, types = [w.ctypes.data for w in layer], (Q4_K, Q4_K, Q6_K)
    config = module.moe.MOEConfig(EXPERTS, PER_TOKEN, HIDDEN, WIDTH, 16, 10, 1024, *pointers, *types, BF16)
    pool, moe = module.CPUInfer(threads), module.moe.MOE(config)
    ids, x = np.arange(PER_TOKEN, dtype=np.int64), np.zeros(HIDDEN, np.uint16)
    given: Sequence[Array] = (ids, np.ones(PER_TOKEN, np.float32), x, np.zeros_like(x))

    def task(tokens: int) -> Callable[[], None]:
        made = moe.forward(tokens, PER_TOKEN, *(each.ctypes.data for each in given))

        def work() -> None:
            pool.submit(made)
            pool.sync()

        return work

    step, nothing = task(1), task(0)
    step()
    found: dict[str, object] = {"threads": threads, "step": timed(step, 0, 3), "no work": timed(nothing, 0, 100)}
    found |= {"after 0.5 ms": timed(step, 5e-4, 40), "after 120 ms": timed(step, 0.12, 12)}
    time.sleep(0.2)
    before = time.process_time()
    time.sleep(1.0)
    return found | {"idle CPUs": round(time.process_time() - before, 4)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))) + "\n")
    sys.stdout.flush()
    os._exit(0)  # the pool's threads need no farewell
