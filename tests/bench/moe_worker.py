"""One build's MoE steps: `python3 moe_worker.py '{"kind": ..., "path": ..., ...}'`; prints JSON, leaves its answers.

The build is one of ours ("ours", a shared object) or kt-kernel's ("kt", the unpacked wheel), so that interpreter, C
library, weights, inputs and clock are the same for each. Weights are mapped from files that all builds share.
"""

import importlib.util
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Q4_K, Q6_K, BF16 = 12, 14, 30  # ggml's numbers of the types
Array = NDArray[Any]


@dataclass(frozen=True)
class Spec:
    """What to run: sizes in values, `seconds` for each count of tokens, `weights` with gate.npy, up.npy, down.npy.

    `threads` compute; one more only waits and spins, in both projects.
    """

    kind: str
    path: str
    weights: str
    answers: str
    tokens: tuple[int, ...]
    hidden: int
    width: int
    experts: int
    per_token: int
    threads: int
    seconds: float

    def text(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Inputs:
    """Activations (bfloat16's bits), chosen experts and their weights, and room for the answer."""

    x: Array
    ids: Array
    weights: Array
    out: Array


def inputs(spec: Spec, tokens: int) -> Inputs:
    """The same for every build: from a seed."""
    random = np.random.default_rng(tokens)
    x = (random.standard_normal((tokens, spec.hidden), np.float32).view(np.uint32) >> 16).astype(np.uint16)
    ids = np.stack([random.permutation(spec.experts)[: spec.per_token] for _ in range(tokens)]).astype(np.int64)
    weights = random.random((tokens, spec.per_token), np.float32)
    return Inputs(x, ids, weights, np.zeros_like(x))


def load(name: str, path: str | Path) -> ModuleType:
    """A shared object or a Python file as module `name`."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def ours(spec: Spec, layer: list[Array]) -> Callable[[Inputs], None]:
    """A step of cpuinfer_ext, with the numbers that our KTransformers gives its MOEConfig."""
    module = load("cpuinfer_ext", spec.path)
    pointers, types = [w.ctypes.data for w in layer], [Q4_K, Q4_K, Q6_K]
    config = module.moe.MOEConfig(
        spec.experts, spec.per_token, spec.hidden, spec.width, 16, 10, 1024, *pointers, *types, BF16
    )
    pool, moe = module.CPUInfer(spec.threads + 1), module.moe.MOE(config)  # one of them only waits

    def step(given: Inputs) -> None:
        arrays = (given.ids, given.weights, given.x, given.out)
        pool.submit(moe.forward(len(given.x), spec.per_token, *(each.ctypes.data for each in arrays)))
        pool.sync()

    return step


def theirs(spec: Spec, layer: list[Array]) -> Callable[[Inputs], None]:
    """A step of kt-kernel's LLAMAFILE method, with the numbers of its kt_kernel/utils/llamafile.py.

    The wheel itself chooses among its builds, by the CPU's flags or by KT_KERNEL_CPU_VARIANT.
    """
    module, _ = load("_cpu_detect", Path(spec.path) / "kt_kernel" / "_cpu_detect.py").initialize()
    pools = module.WorkerPoolConfig()
    pools.subpool_count, pools.subpool_numa_map, pools.subpool_thread_count = 1, [0], [spec.threads]
    pool, on_gpu = module.CPUInfer(pools), np.zeros(spec.experts, np.bool_)
    config = module.moe.MOEConfig(spec.experts, spec.per_token, spec.hidden, spec.width, on_gpu.ctypes.data)
    config.layer_idx, config.pool = 0, pool.backend_
    config.m_block, config.group_min_len = 32, 10
    config.max_len = config.group_max_len = 1024
    config.gate_proj, config.up_proj, config.down_proj = (w.ctypes.data for w in layer)
    config.gate_type, config.up_type, config.down_type, config.hidden_type = (
        module.kvcache.ggml_type(number) for number in (Q4_K, Q4_K, Q6_K, BF16)
    )
    moe = module.moe.MOE(config)
    order = np.arange(spec.experts, dtype=np.int64)
    pool.submit(moe.load_weights_task(order.ctypes.data))
    pool.sync()

    def step(given: Inputs) -> None:
        count = np.array([len(given.x)], np.int32)
        arrays = (given.ids, given.weights, given.x, given.out)
        pool.submit(moe.forward_task(count.ctypes.data, spec.per_token, *(a.ctypes.data for a in arrays), False))
        pool.sync()

    step.__dict__["keep"] = (on_gpu, order, moe)  # C++ holds their addresses
    return step


def measure(step: Callable[[Inputs], None], given: Inputs, seconds: float) -> float:
    """Milliseconds of the quickest step, of at least 3 and for `seconds`; the first is not counted.

    Other work on the machine only ever makes a step slower, and it hits some steps more than others.
    """
    step(given)
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        begin = time.perf_counter()
        step(given)
        times.append(time.perf_counter() - begin)
    return min(times) * 1e3


def main(spec: Spec) -> dict[str, float]:
    """Tokens → milliseconds; answers as bfloat16's bits go to `answers`/TOKENS.npy."""
    layer = [np.load(Path(spec.weights) / f"{name}.npy", mmap_mode="r") for name in ("gate", "up", "down")]
    step = (ours if spec.kind == "ours" else theirs)(spec, layer)
    # The waiting thread spins; idle class leaves the cores to the threads that compute, for every build alike.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    found = {}
    for tokens in spec.tokens:
        given = inputs(spec, tokens)
        found[str(tokens)] = measure(step, given, spec.seconds)
        np.save(Path(spec.answers) / f"{tokens}.npy", given.out)
    return found


if __name__ == "__main__":
    raw = json.loads(sys.argv[1])
    answer = main(Spec(**raw | {"tokens": tuple(raw["tokens"])}))
    sys.stdout.flush()
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    os._exit(0)  # the pools' threads need no farewell
