"""What the figures were taken on."""

import os
import time
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Moment:
    """Seconds so far: of the clock, of all CPUs at work, and of them for this process and its children that ended."""

    clock: float
    busy: float
    own: float


def busy(stat: str) -> float:
    """Seconds that the CPUs have worked, out of /proc/stat: user, nice, system, irq, softirq."""
    ticks = [int(word) for word in stat.splitlines()[0].split()[1:8]]
    return (sum(ticks[:3]) + sum(ticks[5:7])) / os.sysconf("SC_CLK_TCK")


def moment() -> Moment:
    """Now."""
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    return Moment(time.monotonic(), busy(Path("/proc/stat").read_text(encoding="utf-8")), own)


def others(before: Moment, after: Moment) -> float:
    """The share of all CPUs' time that other work took between two moments (builds by a Nix daemon are other work)."""
    whole = (after.clock - before.clock) * (os.cpu_count() or 1)
    return max(0.0, (after.busy - before.busy) - (after.own - before.own)) / whole if whole > 0 else 0.0
