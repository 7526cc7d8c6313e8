"""Warnings and advice about a plan: better choices, limits, and what would make the model fit."""

from collections.abc import Sequence

from leviathan_engine.errors import PlanError
from leviathan_engine.gguf import Model
from leviathan_engine.machine.gpus import Gpu
from leviathan_engine.model.shape import ModelShape

from . import ram
from .machine import GIB, MB, Machine
from .place import Costs
from .plan import CpuPlan


def warnings(machine: Machine, memory: ram.CpuMemory, cpu: CpuPlan) -> list[str]:
    """Returns warnings about a plan that works; `memory` does not count the experts that are resident on GPUs."""
    out: list[str] = []
    if cpu.room < memory.experts:
        out.append(_page_cache(machine, memory, cpu))
    if machine.numa_nodes > 1:
        out.append(
            f"{machine.numa_nodes} NUMA nodes: start the engine with numactl --interleave=all, and leave USE_NUMA unset"
            f" (it copies all experts to every node)"
        )
    return out


def _page_cache(machine: Machine, memory: ram.CpuMemory, cpu: CpuPlan) -> str:
    process = memory.process + cpu.kv_ram
    need = memory.experts + process
    what = "the pod's memory limit" if cpu.limit < cpu.ram else "this machine's memory"
    fix = f"set resources.limits.memory to {-(-need // GIB)}Gi or more" if cpu.limit < cpu.ram else "add memory"
    if cpu.limit < cpu.ram < need:
        fix += f" (this machine has {cpu.ram / GIB:.0f} GiB)"
    slower = ""
    here = ram.decode_bound(memory, cpu.room, machine.ram_rate, machine.disk_rate)
    full = ram.decode_bound(memory, memory.experts, machine.ram_rate, machine.disk_rate)
    if here is not None and full is not None:
        slower = f", at best {here:.1f} tokens/s instead of {full:.1f}"
    return (
        f"{what} of {cpu.limit / GIB:.1f} GiB is {(need - cpu.limit) / GIB:.1f} GiB too small for"
        f" {memory.experts / GIB:.1f} GiB of experts in the page cache and {process / GIB:.1f} GiB of the process, so"
        f" experts are read from the disk repeatedly{slower}: {fix}"
    )


def match_by_size(split: Sequence[int], gpus: Sequence[Gpu]) -> list[Gpu]:
    """Assigns a split that does not fit the GPUs in their order: the largest share to the largest GPU, and so on.

    Errors: PlanError if a share is larger than every GPU that is left.
    """
    order = sorted(range(len(split)), key=lambda i: -split[i])
    cards = sorted(gpus, key=lambda g: (-g.memory, g.index))
    chosen: dict[int, Gpu] = dict(zip(order, cards, strict=False))
    for i, gpu in chosen.items():
        if split[i] > gpu.memory:
            have = ", ".join(f"{g.memory // MB} MB" for g in gpus)
            raise PlanError(
                f"--gpu_split: {split[i] // MB} MB are {(split[i] - gpu.memory) // MB + 1} MB more than the GPU has"
                f" (GPUs: {have})",
                "lower that number, or remove --gpu_split",
            )
    return [chosen[i] for i in range(len(split))]


def largest_cache(model: Model, shape: ModelShape, most: int, budgets: Sequence[int], chunk: int) -> int:
    """Returns the largest KV cache in tokens, a multiple of 1024 up to `most`, that fits with `chunk`; or 0."""
    low, high = 0, most // 1024
    while low < high:
        middle = (low + high + 1) // 2
        costs = Costs(model, shape, middle * 1024)
        fits = any(costs.fits(budgets, head, chunk) for head in range(len(budgets)))
        low, high = (middle, high) if fits else (low, middle - 1)
    return low * 1024
