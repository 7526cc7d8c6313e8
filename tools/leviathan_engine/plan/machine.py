"""What the planner is told: the machine, and what the user asked for. All sizes in bytes, rates in bytes per second."""

import re
from dataclasses import dataclass

from leviathan_engine.errors import UsageError
from leviathan_engine.machine.gpus import Gpu

GIB = 1 << 30
MB = 10**6


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
    """`cache_lens` in tokens; `split` in bytes a GPU in the GPUs' order (0: not used); `kv_ram` in bytes.

    None: the planner's choice.
    """

    cache_lens: int | None = None
    split: tuple[int, ...] | None = None
    kv_ram: int | None = None


def gpu_split(text: str, flag: str = "--gpu_split") -> tuple[int, ...]:
    """`"90000,30000"` (MB a GPU, 10**6 bytes each) as bytes. Errors: UsageError for anything but whole numbers."""
    out: list[int] = []
    for piece in text.split(","):
        number = piece.strip()
        if not re.fullmatch(r"[0-9]{1,9}", number):
            why = "is negative" if re.fullmatch(r"-[0-9.]+", number) else "is no whole number"
            raise UsageError(f"{flag} {text!r}: {number!r} {why}", f'give MB for each GPU, as in {flag} "90000,30000"')
        out.append(int(number) * MB)
    return tuple(out)
