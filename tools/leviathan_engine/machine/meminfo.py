"""Reads the kernel's report of main memory, /proc/meminfo."""

from pathlib import Path

MEMINFO = Path("/proc/meminfo")


def meminfo(name: str, report: Path = MEMINFO) -> int | None:
    """Returns the bytes under `name`, such as MemTotal; None without such a line.

    Errors: OSError if the report cannot be read, ValueError if it has no number there.
    """
    for line in report.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.partition(":")[2].removesuffix("kB")) << 10
    return None
