"""What the planner is told: the machine, and what the user asked for. All sizes in bytes, rates in bytes per second."""

from dataclasses import dataclass

GIB = 1 << 30
MB = 10**6


@dataclass(frozen=True)
class Gpu:
    """One card: its number in PCI bus order, its memory in bytes, its name."""

    index: int
    memory: int
    name: str = ""


@dataclass(frozen=True)
class Machine:
    """`memory_limit` is the cgroup's, None for none; `disk_rate` and `ram_rate` None where nobody measured them."""

    gpus: tuple[Gpu, ...]
    ram: int
    memory_limit: int | None = None
    numa_nodes: int = 1
    disk_rate: float | None = None
    ram_rate: float | None = None


@dataclass(frozen=True)
class Request:
    """`cache_lens` in tokens; `split` in bytes a GPU in the GPUs' order (0: not used), None: the planner's choice."""

    cache_lens: int = 8192
    split: tuple[int, ...] | None = None
