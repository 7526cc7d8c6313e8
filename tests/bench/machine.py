"""What the figures were taken on."""

import os
from pathlib import Path


def field(name: str) -> str:
    """A field of the first CPU in /proc/cpuinfo, "" where it has none."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def flags() -> list[str]:
    """The CPU's flags."""
    return field("flags").split()


def load() -> float:
    """Processes that wanted a CPU, averaged over the last minute."""
    return os.getloadavg()[0]


def describe() -> str:
    """CPU, family and model in hexadecimal as vendors write them, and cores."""
    return f"{field('model name')} (family {field('cpu family')}, model {field('model')}), {os.cpu_count()} cores"
