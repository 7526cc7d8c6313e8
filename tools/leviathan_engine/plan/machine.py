"""The planner's input: the machine, and what the user asks for. All sizes are in bytes, rates in bytes per second."""

import re
from dataclasses import dataclass

from leviathan_engine.errors import UsageError
from leviathan_engine.machine.gpus import Gpu

GIB = 1 << 30
MB = 10**6


@dataclass(frozen=True)
class Machine:
    """`memory_limit` is the cgroup's, None without one; `disk_rate` and `ram_rate` are None if not measured."""

    gpus: tuple[Gpu, ...]
    ram: int
    memory_limit: int | None = None
    numa_nodes: int = 1
    disk_rate: float | None = None
    ram_rate: float | None = None


@dataclass(frozen=True)
class Request:
    """`cache_lens` in tokens; `split` in bytes per GPU in the GPUs' order (0: not used); `kv_ram` in bytes.

    None leaves the choice to the planner.
    """

    cache_lens: int | None = None
    split: tuple[int, ...] | None = None
    kv_ram: int | None = None


def gpu_split(text: str, flag: str = "--gpu_split") -> tuple[int, ...]:
    """Parses `"90000,30000"` (MB of 10**6 bytes per GPU) into bytes. Errors: UsageError unless all are integers."""
    out: list[int] = []
    for piece in text.split(","):
        number = piece.strip()
        if not re.fullmatch(r"[0-9]{1,9}", number):
            raise UsageError(
                f"{flag} {text!r}: expected integers of 0 or more, got {number!r}",
                f'give the MB of each GPU, as in {flag} "90000,30000"',
            )
        out.append(int(number) * MB)
    return tuple(out)
