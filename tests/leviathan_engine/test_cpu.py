"""The CPU's part: the build that it can run, threads, control groups of both versions, and the NUMA policy."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from leviathan_engine.errors import CpuError
from leviathan_engine.machine.cgroup import Limits, limits, memory_used
from leviathan_engine.machine.cpu import (
    available,
    decode_cost,
    interleave,
    march,
    numa_nodes,
    physical_cores,
    policy_error,
    threads,
)
from leviathan_engine.model.reference import DEEPSEEK_V3, TINY

LOADER = Path(__file__).resolve().parents[2] / "nix" / "ktransformers" / "python" / "cpuinfer_ext.py"
TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The image's loader with a table of two builds; returns the loader's path."""
    builds = {"znver4": ["avx2", "avx512f", "avx512_bf16"], "x86-64-v3": ["avx2", "fma"]}
    (tmp_path / "ktransformers_ext/cpu").mkdir(parents=True)
    (tmp_path / "ktransformers_ext/cpu/march.json").write_text(json.dumps(builds))
    return Path(shutil.copy(LOADER, tmp_path / "cpuinfer_ext.py"))


def cpuinfo(folder: Path, flags: str) -> Path:
    path = folder / "cpuinfo"
    path.write_text(f"processor\t: 0\nmodel name\t: X\nflags\t\t: {flags}\nbugs\t\t: avx512f\n\nprocessor\t: 1\n")
    return path


def test_the_best_build_that_the_cpu_can_run(site: Path, tmp_path: Path) -> None:
    assert march(module=site, cpuinfo=cpuinfo(tmp_path, "fma avx2 avx512f avx512_bf16")) == "znver4"
    assert march(module=site, cpuinfo=cpuinfo(tmp_path, "fma avx2 avx512f")) == "x86-64-v3"
    assert march("x86-64-v3", site, cpuinfo(tmp_path, "fma avx2 avx512f avx512_bf16")) == "x86-64-v3"
    assert "cpuinfer_ext" not in sys.modules


def test_a_cpu_that_can_run_none_is_one_line(site: Path, tmp_path: Path) -> None:
    with pytest.raises(CpuError, match=r"znver4 needs avx2 .*x86-64-v3 needs avx2 fma") as caught:
        march(module=site, cpuinfo=cpuinfo(tmp_path, "sse2"))
    assert "\n" not in caught.value.line()
    with pytest.raises(CpuError, match="LEVIATHAN_MARCH=native"):
        march("native", site, cpuinfo(tmp_path, "avx2 fma"))
    (site.parent / "ktransformers_ext/cpu/march.json").unlink()
    with pytest.raises(CpuError, match=r"cannot read .*march\.json"):
        march(module=site, cpuinfo=cpuinfo(tmp_path, "avx2 fma"))


@pytest.mark.parametrize(
    ("limit", "count"),
    [(33, 33), (34, 33), (65, 65), (69, 65), (86, 80), (87, 87), (94, 91), (96, 95), (113, 113), (128, 115)],
)
def test_threads_that_share_the_work_evenly(limit: int, count: int) -> None:
    """1,024 tasks and then 448 on 32, 64, 86, 94 and 112 threads: rounds of 32+14, 16+7, 12+6, 11+5 and 10+4."""
    assert threads(DEEPSEEK_V3, limit, cpus=256, cores=128).count == count


def test_no_thread_count_within_the_limit_is_faster() -> None:
    for limit in range(2, 200):
        chosen = threads(DEEPSEEK_V3, limit, cpus=256, cores=128).count
        costs = {n: decode_cost(DEEPSEEK_V3, n - 1) for n in range(2, limit + 1)}
        assert costs[chosen] == min(costs.values())
        assert all(cost > costs[chosen] for n, cost in costs.items() if n < chosen)


def test_the_cost_of_a_round() -> None:
    # 86 threads: 12 tasks of 16 rows of gate and of up, 7168 wide; 6 tasks of 16 rows of down, 2048 wide, of 8 experts.
    assert decode_cost(DEEPSEEK_V3, 86) == 12 * 2 * 16 * 7168 + 6 * 16 * 2048 * 8


def test_the_flag_is_held_to_what_the_container_may_use() -> None:
    held = threads(DEEPSEEK_V3, 96, cpus=64, cores=32)
    assert held.count == 62
    assert held.note == "the CPU experts use 62 threads instead of 96: this container may use 64 CPUs"
    assert threads(DEEPSEEK_V3, 16, cpus=16, cores=16).note == (
        "the CPU experts use 15 threads instead of 16: one CPU is left for the engine's other threads"
    )
    assert threads(DEEPSEEK_V3, 93, cpus=96, cores=48).note.startswith(
        "the CPU experts use 91 threads instead of 93: they are as fast"
    )
    assert threads(DEEPSEEK_V3, 91, cpus=96, cores=48).note == ""
    assert threads(DEEPSEEK_V3, None, cpus=96, cores=64).count == 65
    assert threads(TINY, 2, cpus=1, cores=1).count == 2  # one worker is the least that the engine runs with


def test_cpus_of_this_process() -> None:
    assert available(None) == len(os.sched_getaffinity(0))
    assert available(2.7, affinity=8) == 2
    assert available(0.5, affinity=8) == 1
    assert available(16.0, affinity=8) == 8


def test_two_hardware_threads_are_one_core(tmp_path: Path) -> None:
    for cpu in range(4):
        folder = tmp_path / f"cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{cpu % 2},{cpu % 2 + 2}\n")
    assert physical_cores(tmp_path, affinity=[0, 1, 2, 3]) == 2
    assert physical_cores(tmp_path, affinity=[0, 2]) == 1
    assert physical_cores(tmp_path / "none", affinity=[0, 2]) == 2
    assert 1 <= physical_cores() <= len(os.sched_getaffinity(0))


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


GIB = 1 << 30
GROUPS: list[tuple[dict[str, str], str, Limits]] = [
    ({"cpu.max": "9600000 100000", "memory.max": str(360 * GIB)}, "0::/", Limits(96.0, 360 * GIB)),
    ({"cpu.max": "max 100000", "memory.max": "max"}, "0::/", Limits(None, None)),
    (
        {"a/cpu.max": "max 100000", "a/b/cpu.max": "150000 100000", "a/memory.max": "1000", "a/b/memory.max": "2000"},
        "0::/a/b",
        Limits(1.5, 1000),
    ),
    ({"memory.max": "2000", "memory.high": "1500"}, "0::/", Limits(None, 1500)),
    ({"cpu.max": "200000 100000"}, "0::/../host/path", Limits(2.0, None)),
    (
        {
            "cpu/cpu.cfs_quota_us": "400000",
            "cpu/cpu.cfs_period_us": "100000",
            "memory/memory.limit_in_bytes": str(8 * GIB),
        },
        "4:memory:/kubepods/pod1\n3:cpu,cpuacct:/kubepods/pod1\n1:name=systemd:/",
        Limits(4.0, 8 * GIB),
    ),
    (
        {
            "cpu/cpu.cfs_quota_us": "-1",
            "cpu/cpu.cfs_period_us": "100000",
            "cpu/x/cpu.cfs_quota_us": "50000",
            "cpu/x/cpu.cfs_period_us": "100000",
            "memory/memory.limit_in_bytes": "9223372036854771712",
        },
        "4:memory:/x\n3:cpu,cpuacct:/x\n0::/x",
        Limits(0.5, None),
    ),
    ({"cpu.max": "junk", "memory.max": ""}, "0::/", Limits(None, None)),
]


@pytest.mark.parametrize(("files", "own", "want"), GROUPS)
def test_control_groups(tmp_path: Path, files: dict[str, str], own: str, want: Limits) -> None:
    write(tmp_path, {"self": own})
    assert limits(write(tmp_path / "cgroup", files), tmp_path / "self") == want


USED: list[tuple[dict[str, str], str, int | None]] = [
    ({"memory.current": "7"}, "0::/", 7),
    # Privileged: the host's root, which has no such file, or has that of another hierarchy.
    ({"kubepods/x/memory.current": "7", "cpu.max": "max 100000"}, "0::/kubepods/x", 7),
    ({"kubepods/x/memory.current": "7", "kubepods/memory.current": "9"}, "0::/kubepods/x", 7),
    # The path is the host's, the folder the container's own.
    ({"memory.current": "7"}, "0::/kubepods/x", 7),
    ({"memory/kubepods/x/memory.usage_in_bytes": "7"}, "4:memory:/kubepods/x\n0::/kubepods/x", 7),
    ({"memory/memory.usage_in_bytes": "7"}, "4:hugetlb,memory:/kubepods/x", 7),
    ({"memory.current": "junk"}, "0::/", None),
    ({}, "0::/kubepods/x", None),
]


@pytest.mark.parametrize(("files", "own", "want"), USED)
def test_the_memory_that_the_own_group_uses(tmp_path: Path, files: dict[str, str], own: str, want: int | None) -> None:
    write(tmp_path, {"self": own})
    assert memory_used(write(tmp_path / "cgroup", files), tmp_path / "self") == want


def test_no_control_groups_at_all(tmp_path: Path) -> None:
    assert limits(tmp_path / "none", tmp_path / "none") == Limits(None, None)
    here = limits()
    assert here.cpus is None or here.cpus > 0


def test_numa_nodes(tmp_path: Path) -> None:
    assert numa_nodes(tmp_path / "none") == 0
    for name in ("node0", "node1", "has_cpu"):
        (tmp_path / name).mkdir()
    assert numa_nodes(tmp_path) == 2


def test_interleaving_and_why_not() -> None:
    def there(_name: str) -> str:
        return "/usr/bin/numactl"

    assert interleave(2, there, lambda: 0).prefix == ("/usr/bin/numactl", "--interleave=all")
    assert interleave(1, there, lambda: 0).prefix == ("/usr/bin/numactl", "--interleave=all")
    assert interleave(0, there, lambda: 0).prefix == ()
    refused = interleave(2, there, lambda: errno.EPERM)
    assert refused.prefix == ()
    assert "(EPERM)" in refused.warning
    assert "CAP_SYS_NICE" in refused.warning
    assert "decoding may be slower on 2 NUMA nodes" in refused.warning
    missing = interleave(1, lambda _name: None, lambda: 0)
    assert (missing.prefix, missing.warning) == (
        (),
        "memory is not interleaved, because numactl is not installed: on one NUMA node this costs nothing",
    )


# Denies set_mempolicy with EPERM, as a container's seccomp profile does, and then asks.
SECCOMP = """
import ctypes, struct
from leviathan_engine.machine.cpu import interleave, policy_error
before = policy_error()
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 238), (6, 0, 0, 0x00050001), (6, 0, 0, 0x7FFF0000)]
program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *c) for c in code))
class Prog(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
assert libc.prctl(38, 1, 0, 0, 0) == 0
prog = Prog(len(code), ctypes.addressof(program))
assert libc.prctl(22, 2, ctypes.addressof(prog), 0, 0) == 0, ctypes.get_errno()
found = interleave(2, lambda name: "/usr/bin/" + name)
assert found.prefix == ()
print(before, policy_error(), found.warning)
"""


def test_a_real_seccomp_filter_is_seen() -> None:
    argv = [sys.executable, "-c", SECCOMP]
    done = subprocess.run(argv, env={"PYTHONPATH": str(TOOLS)}, capture_output=True, text=True, timeout=60, check=True)
    before, after = map(int, done.stdout.split()[:2])
    assert after == errno.EPERM
    assert "memory is not interleaved, because this container may not set a NUMA policy (EPERM)" in done.stdout
    assert before in (0, errno.ENOSYS, errno.EPERM)
    assert before == policy_error()
