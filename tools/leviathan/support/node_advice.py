"""What the node's own settings mean for the engine: each finding with the machine configuration that mends it.

Sources: kernel documentation, admin-guide/mm/transhuge.rst and cpu-freq; Talos v1.x, MachineConfig (`machine.sysctls`,
`machine.sysfs`, `machine.kubelet.extraConfig`, `machine.install.extraKernelArgs`); NVIDIA, "Xid Errors".
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from leviathan.preflight.check_result import CheckResult, ok, problem, warning

Sections = Mapping[str, Sequence[str]]
#: Xid → what it means. Source: NVIDIA, "Xid Errors".
XIDS = {
    "31": "the engine touched memory that is not its own (a software fault)",
    "43": "the engine's work was stopped (a software fault)",
    "48": "a double-bit memory error: the card needs a reset, or is broken",
    "63": "a memory row was remapped: reset the card",
    "74": "an NVLink error",
    "79": "the card has fallen off the bus: power, riser or heat",
    "94": "a contained memory error",
    "95": "an uncontained memory error: reset the card",
}


def diagnose(found: Sections, kubelet: Mapping[str, Any] | None, cpu_request: str) -> list[tuple[str, CheckResult]]:
    """All checks: name and finding.

    Arguments: `found`, what the probe printed; `kubelet`, its configuration, None where it may not be read;
    `cpu_request`, of the engine.
    """
    checks = {
        "governor": _governor(found),
        "huge-pages": _thp(found),
        "numa": _numa(found),
        "cpu-manager": _cpu_manager(kubelet, cpu_request),
        "pcie": _pcie(found),
        "gpu": _gpu(found),
        "xid": _xid(found),
    }
    return [(name, finding) for name, findings in checks.items() for finding in findings]


def patch(*lines: str) -> str:
    """A Talos patch in one line, as `talosctl patch mc --patch` takes it."""
    return f"on Talos: talosctl patch mc --patch '{' '.join(lines)}'"


def _governor(found: Sections) -> Iterator[CheckResult]:
    words = [line.split(None, 1) for line in found.get("governors", [])]
    counts = {each[1]: each[0] for each in words if len(each) == 2}
    if not counts:
        yield ok("the kernel sets no CPU frequency here (no cpufreq): the firmware does")
    elif set(counts) == {"performance"}:
        yield ok("all CPUs have the governor performance")
    else:
        seen = ", ".join(f"{name} on {count}" for name, count in sorted(counts.items()))
        yield warning(
            f"CPU governor {seen}: clocks rise only under load, each token waits for them",
            patch('{"machine": {"sysfs": {"devices.system.cpu.cpu0.cpufreq.scaling_governor": "performance"}}}')
            + ", one key for each CPU; elsewhere: cpupower frequency-set -g performance",
        )


def _thp(found: Sections) -> Iterator[CheckResult]:
    text = " ".join(found.get("thp", []))
    if "[always]" in text or "[madvise]" in text:
        yield ok(f"transparent huge pages: {text}")
    elif text:
        yield warning(
            f"transparent huge pages are off ({text}): the experts' memory is walked in pages of 4 KiB",
            patch('{"machine": {"sysfs": {"kernel.mm.transparent_hugepage.enabled": "madvise"}}}'),
        )
    reserved = "".join(found.get("hugepages", [])).split()
    if reserved and reserved[-1].isdigit() and int(reserved[-1]) > 0:
        yield warning(
            f"{reserved[-1]} huge pages are reserved, and the engine uses none of them",
            patch('{"machine": {"sysctls": {"vm.nr_hugepages": "0"}}}'),
        )


def _numa(found: Sections) -> Iterator[CheckResult]:
    text = "".join(found.get("nodes", []))
    if not text.isdigit():
        return
    if int(text) > 1:
        yield warning(
            f"{text} NUMA nodes: without a memory policy half of the reads cross the socket or die",
            "the firmware's NPS1, or workload.variant = privileged, in which numactl interleaves",
        )
    else:
        yield ok("one NUMA node")


def _cpu_manager(kubelet: Mapping[str, Any] | None, cpu_request: str) -> Iterator[CheckResult]:
    if kubelet is None:
        yield warning(
            "not known: the kubelet's configuration may not be read",
            "as an administrator; it takes the right to get nodes/proxy",
        )
        return
    policy = str(kubelet.get("cpuManagerPolicy", "none"))
    if policy == "static" and not cpu_request.isdigit():
        yield warning(
            f"the CPU manager is static, and no CPUs are pinned: resources.cpu_request = {cpu_request} is not whole",
            "set resources.cpu_request and resources.cpu_limit to the same integer, or leave the policy at none",
        )
    else:
        yield ok(f"CPU manager policy {policy}")


def _pcie(found: Sections) -> Iterator[CheckResult]:
    cards = [line.split() for line in found.get("cards", [])]
    for name, speed, most_speed, width, most_width in (card for card in cards if len(card) == 5):
        if width != most_width:
            yield problem(
                f"the card {name} has {width} of {most_width} PCIe lanes",
                "another slot, the riser, or the firmware's bifurcation setting",
            )
        elif speed != most_speed:
            yield warning(
                f"the card {name} runs its link at {speed} of {most_speed} GT/s",
                "it may only save power: look again while the engine answers; else the riser, or the firmware",
            )
        else:
            yield ok(f"the card {name} has all {width} lanes at {speed} GT/s")


def _gpu(found: Sections) -> Iterator[CheckResult]:
    driver = " ".join(found.get("driver", [])[:1])
    for line in found.get("smi", []):
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != 7:
            continue
        index, name, capability, version, errors, heat, throttled = parts
        text = f"GPU {index} {name}, compute capability {capability}, driver {version}, {heat} °C"
        if errors.isdigit() and int(errors) > 0:
            yield problem(f"{text}: {errors} uncorrected memory errors", "reset the card, or replace it")
        elif throttled not in ("0x0000000000000000", "0x0000000000000001", "[N/A]"):
            yield warning(f"{text}: throttled ({throttled})", "nvidia-smi -q -d PERFORMANCE says why: heat or power")
        else:
            yield ok(text)
    if not found.get("smi") and driver:
        yield ok(driver)


def _xid(found: Sections) -> Iterator[CheckResult]:
    lines = found.get("xid", [])
    if not lines:
        yield ok("no Xid, NVMe or XFS error in the kernel's log, as far as the pod may read it")
    for line in lines[-5:]:
        number = line.partition("Xid")[2].partition("):")[2].strip().split(",")[0].strip()
        meaning = f": {XIDS[number]}" if number in XIDS else ""
        yield problem(f"kernel: {line[:200]}{meaning}", "NVIDIA, Xid Errors; for a disk: smartctl -a of it on the node")
