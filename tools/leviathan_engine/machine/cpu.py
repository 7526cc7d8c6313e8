"""Chooses what the CPU does: which build of the experts it can run, how many threads, and the NUMA policy.

The table of CPU flags per build is the image's own (`ktransformers_ext/cpu/march.json` beside `cpuinfer_ext.py`, made
by nix/ktransformers); the choice is made by that module's `choose`, here only earlier, so that a wrong CPU ends the
start with a sentence and not in the middle of an import.
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
STRIDE = 64  # rows of a task in KExpertsCPU's MOEConfig
SET_MEMPOLICY = 238  # x86-64
UNKNOWN_POLICY = 0x7FFF


@dataclass(frozen=True)
class Threads:
    """`count` for the engine's --cpu_infer, `most` that a measurement may try, and a note for the user, "" for none."""

    count: int
    most: int
    note: str


@dataclass(frozen=True)
class Numa:
    """`prefix` goes before the engine's command; `warning` says why there is none, "" otherwise."""

    prefix: tuple[str, ...]
    warning: str


def march(forced: str = "", module: Path | None = None, cpuinfo: Path = CPUINFO) -> str:
    """The build of the CPU experts that the engine will load, best first, such as "znver5".

    Arguments: `forced`, LEVIATHAN_MARCH; `module`, the path of `cpuinfer_ext.py`, found by itself when None. Errors:
    CpuError when the module is not there, or this CPU can run none of its builds.
    """
    if module is None:
        spec = importlib.util.find_spec("cpuinfer_ext")
        if spec is None or spec.origin is None:
            raise CpuError("the module cpuinfer_ext is not installed", "run this in the image")
        module = Path(spec.origin)
    table = module.parent / "ktransformers_ext" / "cpu" / "march.json"
    # Under another name the module does not load a build: it only lends its functions.
    spec = importlib.util.spec_from_file_location("leviathan_march_choice", module)
    if spec is None or spec.loader is None:
        raise CpuError(f"{module} is no Python module", "the image is incomplete: build it again")
    code = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(code)
        builds = json.loads(table.read_text(encoding="utf-8"))
        return str(code.choose(builds, code.cpu_flags(cpuinfo.read_text(encoding="utf-8")), forced))
    except ImportError as err:
        raise CpuError(str(err)) from err
    except (OSError, ValueError) as err:
        raise CpuError(f"{table}: cannot be read: {err}", "the image is incomplete: build it again") from err


def available(quota: float | None, affinity: int | None = None) -> int:
    """CPUs that this process may use at once: its affinity, held to the cgroup's quota."""
    cpus = len(os.sched_getaffinity(0)) if affinity is None else affinity
    return max(1, min(cpus, int(quota)) if quota is not None else cpus)


def physical_cores(cpus: Path = CPUS, affinity: Sequence[int] | None = None) -> int:
    """Cores among the CPUs of this process: two hardware threads of one core count once."""
    allowed = os.sched_getaffinity(0) if affinity is None else affinity
    cores: set[str] = set()
    for cpu in allowed:
        try:
            cores.add((cpus / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text().strip())
        except OSError:
            cores.add(str(cpu))
    return len(cores)


def threads(shape: ModelShape, wanted: int | None, cpus: int, cores: int) -> Threads:
    """The engine's thread count: at most `wanted` (None: one for each core) and `cpus`, and no more than are of use.

    With --cpu_infer N the engine works with N - 1 threads, and decoding is cut into tasks of fixed size: for
    DeepSeek-V3 256 for gate and up, then 112 for down. What counts is how many rounds the slowest thread makes, so the
    smallest N with the fewest is taken: 57, 65, 87 and 113 are such numbers, and 96 is no faster than 87.

    The N - 1 threads leave two CPUs where there are more: while they work, the thread that runs CUDA's host functions
    and the worker's main thread wait for them, spinning, and the kernel has work of its own. The worker confirms the
    count by a measurement (worker/thread_choice.py), with `most` as its limit.
    """
    most = max(2, min(cpus - 1, wanted if wanted is not None else cpus - 1))
    limit = min(most, wanted if wanted is not None else max(cores + 1, 2))
    count = min(range(2, limit + 1), key=lambda n: (decode_cost(shape, n - 1), n))
    if wanted is None or count == wanted:
        return Threads(count, most, "")
    if wanted > cpus:
        asked = f"{wanted} threads are asked for, this container may use {cpus} CPUs"
        return Threads(count, most, f"{asked}: {count} are used")
    if count == most:
        return Threads(count, most, f"{count} threads instead of {wanted}: one CPU is left for the engine's others")
    even = "the experts' tasks fall evenly on them"
    return Threads(count, most, f"{count} threads do the work as fast as {wanted}: {even}")


def decode_cost(shape: ModelShape, workers: int) -> int:
    """Weights that the busiest of `workers` threads reads for one layer of one token."""
    gate_up = shape.experts_used * -(-shape.moe_ffn // STRIDE)
    down = -(-shape.hidden // STRIDE)
    return (
        -(-gate_up // workers) * 2 * STRIDE * shape.hidden
        + -(-down // workers) * STRIDE * shape.moe_ffn * shape.experts_used
    )


def numa_nodes(nodes: Path = NODES) -> int:
    """NUMA nodes with CPUs or memory; 0 when the kernel knows none."""
    return sum(1 for entry in nodes.glob("node[0-9]*")) if nodes.is_dir() else 0


def policy_error(policy: int = UNKNOWN_POLICY) -> int:
    """0 when this process may set a NUMA policy, else the kernel's error number.

    The call names a policy that does not exist, so it changes nothing: allowed, the kernel answers EINVAL; a seccomp
    profile without CAP_SYS_NICE answers EPERM, a kernel without NUMA ENOSYS.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(SET_MEMPOLICY, policy, None, 0) == 0:
        return 0
    number = ctypes.get_errno()
    return 0 if number == errno.EINVAL else number


def interleave(
    nodes: int, which: Callable[[str], str | None] = shutil.which, probe: Callable[[], int] = policy_error
) -> Numa:
    """`numactl --interleave=all` for the engine's command, or why not."""
    if nodes == 0:
        return Numa((), "")
    program = which("numactl")
    more = f"with {nodes} nodes decoding may be slower" if nodes > 1 else "with one node nothing is lost"
    if program is None:
        return Numa((), f"numactl is not installed, memory is not interleaved: {more}")
    number = probe()
    if number:
        why = errno.errorcode.get(number, str(number))
        right = "give the container CAP_SYS_NICE or privileged: true"
        return Numa((), f"no right to set a NUMA policy ({why}), memory is not interleaved: {more}; {right}")
    return Numa((program, "--interleave=all"), "")
