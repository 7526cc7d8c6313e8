"""Measures the CPU experts of a loaded model with several thread counts, and applies the fastest."""

import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from leviathan_engine.worker.thread_choice import Choice, Circumstances, Step, choose

# Layers of a step: more bytes than any CPU cache holds, and about one second in total.
LAYERS = 16
CPUINFO = Path("/proc/cpuinfo")


def cpu_experts(model: Any) -> list[Any]:
    """Returns the model's KExpertsCPU modules (or those with `moe` and `cpu_infer`), in the order of the layers."""
    found = (getattr(module, "generate_experts", None) for module in model.modules())
    return [each for each in found if hasattr(each, "moe") and hasattr(each, "cpu_infer")]


def settle(model: Any, computed: int, most: int, cores: int, memory: Path) -> Choice | None:
    """Chooses the number of threads and makes the experts use it; None for a model without CPU experts.

    Arguments: `computed`, the launcher's count, which the experts use now; `most`, the largest count to try; `cores`
    of this container; `memory`, the file that stores the choice.
    """
    experts = cpu_experts(model)
    if not experts:
        return None
    sample = experts[:: -(-len(experts) // LAYERS)]
    token_bytes = sum(_token_bytes(each) for each in sample)
    extension: Any = import_module("cpuinfer_ext")
    march = str(getattr(extension, "march", ""))
    here = Circumstances(_cpu_name(), most, cores, march, token_bytes)
    pools: dict[int, Any] = {computed: experts[0].cpu_infer}
    choice = choose(here, computed, lambda: _stepper(sample, _pool(pools, extension)), memory)
    _use(experts, _pool(pools, extension)(choice.count))
    rate = "" if choice.rate is None else f", {choice.rate / 1e9:.0f} GB/s of experts"
    sys.stderr.write(f"leviathan: {choice.count} threads for the CPU experts{rate}: {choice.how}\n")
    return choice


def _pool(pools: dict[int, Any], extension: Any) -> Callable[[int], Any]:
    def get(count: int) -> Any:
        if count not in pools:
            pools[count] = extension.CPUInfer(count)
        return pools[count]

    return get


def _stepper(experts: list[Any], pool: Callable[[int], Any]) -> Step:
    """Returns a function that runs one token's step through `experts` and returns the seconds it took."""
    import numpy as np  # noqa: PLC0415 - it starts threads, and the process gives up its privileges first

    config = experts[0].config
    random = np.random.default_rng(0)
    chosen, per_token = experts[0].n_routed_experts, config.num_experts_per_tok
    ids = [random.permutation(chosen)[:per_token].astype(np.int64) for _ in experts]
    weights = np.full(per_token, 1.0 / per_token, np.float32)
    # Zeros in bfloat16: the values do not matter for the time.
    given, out = np.zeros(config.hidden_size, np.uint16), np.zeros(config.hidden_size, np.uint16)
    tasks = [
        each.moe.forward(1, per_token, *(a.ctypes.data for a in (own, weights, given, out)))
        for each, own in zip(experts, ids, strict=True)
    ]

    def step(count: int, keep: Any = (ids, weights, given, out)) -> float:  # C++ holds the arrays' addresses
        threads = pool(count)
        began = time.perf_counter()
        for task in tasks:
            threads.submit(task)
            threads.sync()
        return time.perf_counter() - began

    return step


def _use(experts: list[Any], pool: Any) -> None:
    """Makes all experts use `pool`, including those created later; the threads of the other pools end."""
    for each in experts:
        each.cpu_infer = pool
    type(experts[0]).CPU_INFER = pool


def _token_bytes(expert: Any) -> int:
    """Returns the bytes of one layer's experts that a token needs."""
    whole = sum(int(weights.nbytes) for weights in (expert.gate, expert.up, expert.down))
    return whole * int(expert.config.num_experts_per_tok) // int(expert.n_routed_experts)


def _cpu_name() -> str:
    for line in CPUINFO.read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return ""
