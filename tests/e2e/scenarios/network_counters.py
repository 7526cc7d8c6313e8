"""What the kernel and kube-proxy's rules have counted, to find out who refuses a connection.

Counters: /proc/net/snmp and netstat of a network namespace (Linux, Documentation/networking/snmp_counter.rst). A
connection is refused by a reset (OutRsts) of whoever has the address, or by a REJECT rule, which sends an ICMP message
(OutDestUnreachs) or a reset of its own.
"""

import subprocess
from pathlib import Path

COUNTERS: dict[str, dict[str, tuple[str, ...]]] = {
    "snmp": {
        "Tcp": ("ActiveOpens", "PassiveOpens", "AttemptFails", "RetransSegs", "InErrs", "OutRsts"),
        "Icmp": ("InDestUnreachs", "OutDestUnreachs"),
    },
    "netstat": {"TcpExt": ("ListenOverflows", "ListenDrops", "TCPAbortOnData", "TCPReqQFullDrop")},
}
RULES = ("KUBE-NODEPORTS", "leviathan-inference", "REJECT")  # lines of iptables-save that are kept have one of these


def counters(process: int | str = "self", proc: Path = Path("/proc")) -> dict[str, int]:
    """`Tcp.OutRsts` and so on → count, in the network namespace of a process; empty when it has ended."""
    found: dict[str, int] = {}
    for file, wanted in COUNTERS.items():
        try:
            table = parsed((proc / str(process) / "net" / file).read_text(encoding="ascii"))
        except OSError:
            continue
        for group, names in wanted.items():
            found |= {f"{group}.{name}": table[group][name] for name in names if name in table.get(group, {})}
    return found


def parsed(text: str) -> dict[str, dict[str, int]]:
    """Group → name → count of a file that has a line of names and a line of numbers for each group."""
    table = {}
    lines = text.splitlines()
    for names, numbers in zip(lines[::2], lines[1::2], strict=False):
        group, _, rest = names.partition(":")
        table[group] = dict(zip(rest.split(), map(int, numbers.partition(":")[2].split()), strict=False))
    return table


def rules() -> list[str]:
    """The rules of the NodePort and what they have counted (`iptables-save -c`); empty where nothing has rules."""
    try:
        done = subprocess.run(["iptables-save", "-c"], capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line for line in done.stdout.splitlines() if line.startswith("[") and any(one in line for one in RULES)]


def snapshot(processes: dict[str, int | str]) -> dict[str, object]:
    """Counters of the network namespace of each of `processes` by its name, and the rules of this one's."""
    return {name: counters(process) for name, process in processes.items()} | {"rules": rules()}
