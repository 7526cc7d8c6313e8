"""Chooses the build of the CPU experts, the number of threads and the NUMA policy.

The table of CPU flags per build is part of the image (`ktransformers_ext/cpu/march.json` next to `cpuinfer_ext.py`,
made by nix/ktransformers). The function `choose` of that module makes the choice; it is called here before the import,
so that an unsuitable CPU ends the start with an error message.
"""

import ctypes
import errno
import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from leviathan_engine.errors import CpuError
from leviathan_engine.model.shape import ModelShape

CPUINFO = Path("/proc/cpuinfo")
NODES = Path("/sys/devices/system/node")
CPUS = Path("/sys/devices/system/cpu")
STRIDE = 16  # rows of a task in KExpertsCPU's MOEConfig (expert-task-rows.patch)
SET_MEMPOLICY = 238  # x86-64
UNKNOWN_POLICY = 0x7FFF


@dataclass(frozen=True)
class Threads:
    """`count` for the worker's --cpu_infer, `most` that a measurement may try, and a note for the log, "" for none."""

    count: int
    most: int
    note: str


@dataclass(frozen=True)
class Numa:
    """`prefix` of the worker's command; `warning` says why it is empty, "" otherwise."""

    prefix: tuple[str, ...]
    warning: str


def march(forced: str = "", module: Path | None = None, cpuinfo: Path = CPUINFO) -> str:
    """Returns the best build of the CPU experts that this CPU can run, such as "znver5".

    Arguments: `forced`, LEVIATHAN_MARCH; `module`, the path of `cpuinfer_ext.py`, None to search for it. Errors:
    CpuError if the module is missing, or if this CPU can run none of its builds.
    """
    if module is None:
        spec = importlib.util.find_spec("cpuinfer_ext")
        if spec is None or spec.origin is None:
            raise CpuError("the Python module cpuinfer_ext is not installed", "run this command in the engine's image")
        module = Path(spec.origin)
    table = module.parent / "ktransformers_ext" / "cpu" / "march.json"
    # Imported under another name, the module does not load a build; only its functions are used.
    spec = importlib.util.spec_from_file_location("leviathan_march_choice", module)
    if spec is None or spec.loader is None:
        raise CpuError(f"{module} is not a Python module: the image is incomplete", "build the image again")
    code = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(code)
        builds = json.loads(table.read_text(encoding="utf-8"))
        return str(code.choose(builds, code.cpu_flags(cpuinfo.read_text(encoding="utf-8")), forced))
    except ImportError as err:
        raise CpuError(str(err)) from err
    except (OSError, ValueError) as err:
        raise CpuError(f"cannot read {table}: {err}: the image is incomplete", "build the image again") from err


def available(quota: float | None, affinity: int | None = None) -> int:
    """Returns the number of CPUs that this process may use at once, from its affinity and the cgroup's quota."""
    cpus = len(os.sched_getaffinity(0)) if affinity is None else affinity
    return max(1, min(cpus, int(quota)) if quota is not None else cpus)


def physical_cores(cpus: Path = CPUS, affinity: Sequence[int] | None = None) -> int:
    """Returns the number of cores of this process's CPUs: two hardware threads of one core count once."""
    allowed = os.sched_getaffinity(0) if affinity is None else affinity
    cores: set[str] = set()
    for cpu in allowed:
        try:
            cores.add((cpus / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text().strip())
        except OSError:
            cores.add(str(cpu))
    return len(cores)


def threads(shape: ModelShape, wanted: int | None, cpus: int, cores: int) -> Threads:
    """Returns the worker's thread count: at most `wanted` (None: one per core) and `cpus`, and no more than useful.

    With --cpu_infer N, N - 1 threads compute, and a decode step is split into tasks of fixed size: for DeepSeek-V3
    1,024 for gate and up, then 448 for down. The step takes as long as the thread with the most rounds of tasks, so
    this takes the smallest N with the fewest rounds: 65, 87, 95 and 113 are such numbers, and 94 is as fast as 91.

    The N - 1 threads leave two CPUs free if there are more, for the thread that runs CUDA's host functions and for the
    worker's main thread, which wait for them in a busy loop, and for the kernel. The worker confirms the count with a
    measurement (worker/thread_choice.py), with `most` as its limit.
    """
    most = max(2, min(cpus - 1, wanted if wanted is not None else cpus - 1))
    limit = min(most, wanted if wanted is not None else max(cores + 1, 2))
    count = min(range(2, limit + 1), key=lambda n: (decode_cost(shape, n - 1), n))
    if wanted is None or count == wanted:
        return Threads(count, most, "")
    if wanted > cpus:
        why = f"this container may use {cpus} CPUs"
    elif count == most:
        why = "one CPU is left for the engine's other threads"
    else:
        why = f"they are as fast as {wanted}, because the experts' tasks divide evenly among them"
    return Threads(count, most, f"the CPU experts use {count} threads instead of {wanted}: {why}")


def decode_cost(shape: ModelShape, workers: int) -> int:
    """Returns the number of weights that the busiest of `workers` threads reads for one layer of one token."""
    gate_up = shape.experts_used * -(-shape.moe_ffn // STRIDE)
    down = -(-shape.hidden // STRIDE)
    return (
        -(-gate_up // workers) * 2 * STRIDE * shape.hidden
        + -(-down // workers) * STRIDE * shape.moe_ffn * shape.experts_used
    )


def numa_nodes(nodes: Path = NODES) -> int:
    """Returns the number of NUMA nodes; 0 if the kernel reports none."""
    return sum(1 for entry in nodes.glob("node[0-9]*")) if nodes.is_dir() else 0


def policy_error(policy: int = UNKNOWN_POLICY) -> int:
    """Returns 0 if this process may set a NUMA policy, otherwise the kernel's error number.

    The call asks for a policy that does not exist, so it changes nothing. If the call is allowed, the kernel returns
    EINVAL; a seccomp profile without CAP_SYS_NICE returns EPERM, a kernel without NUMA returns ENOSYS.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(SET_MEMPOLICY, policy, None, 0) == 0:
        return 0
    number = ctypes.get_errno()
    return 0 if number == errno.EINVAL else number


def interleave(
    nodes: int, which: Callable[[str], str | None] = shutil.which, probe: Callable[[], int] = policy_error
) -> Numa:
    """Returns `numactl --interleave=all` as prefix of the worker's command, or a warning that says why not."""
    if nodes == 0:
        return Numa((), "")
    program = which("numactl")
    more = f"decoding may be slower on {nodes} NUMA nodes" if nodes > 1 else "on one NUMA node this costs nothing"
    if program is None:
        return Numa((), f"memory is not interleaved, because numactl is not installed: {more}")
    number = probe()
    if number:
        why = errno.errorcode.get(number, str(number))
        remedy = "give the container CAP_SYS_NICE or privileged: true"
        reason = f"this container may not set a NUMA policy ({why})"
        return Numa((), f"memory is not interleaved, because {reason}: {more}; {remedy}")
    return Numa((program, "--interleave=all"), "")
