"""How much of main memory may be page-locked for experts, which are then copied to the GPUs without a reader."""

from collections.abc import Mapping
from pathlib import Path

from leviathan_engine.environment import one_of
from leviathan_engine.machine.meminfo import MEMINFO, meminfo

# Locked pages cannot be evicted: so much stays free, or a tenth if that is more. The process takes up to 10 GiB.
SPARE = 16 << 30


def room(environ: Mapping[str, str], kv_ram: int, memory_limit: int | None, report: Path = MEMINFO) -> int:
    """Returns how many bytes may be locked, at least 0. Call it before the model is loaded.

    Args:
        environ: LEVIATHAN_PAGE_LOCK=0 means none.
        kv_ram: bytes of main memory for parked conversations.
        memory_limit: of the control group, in bytes; None without one.
        report: the kernel's, of main memory; the page cache counts as available there.

    Errors: UsageError for a LEVIATHAN_PAGE_LOCK other than 0 and 1.
    """
    if one_of(environ, "LEVIATHAN_PAGE_LOCK", ("1", "0")) == "0":
        return 0
    try:
        available = meminfo("MemAvailable", report)
    except (OSError, ValueError):
        return 0
    if available is None:
        return 0
    memory = available if memory_limit is None else min(available, memory_limit)
    return max(0, memory - kv_ram - max(SPARE, memory // 10))
