"""Reads the node through the engine's pod: one shell command that prints files of /sys and /proc in sections."""

from collections.abc import Sequence

from leviathan.cluster.client import Cluster
from leviathan.cluster.engine_pod import find_pod
from leviathan.model.remote import FileProbe, run_in
from leviathan.site.schema import Site

QUIET_S = 30.0
MARK = "==== "
#: Section → shell command; each is allowed to find nothing.
SECTIONS = {
    "governors": "cat /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor | sort | uniq -c",
    "thp": "cat /sys/kernel/mm/transparent_hugepage/enabled",
    "nodes": "ls -d /sys/devices/system/node/node[0-9]* | wc -l",
    "hugepages": "grep -i ^HugePages_Total /proc/meminfo",
    "meminfo": "head -3 /proc/meminfo",
    "cpu": "grep -m1 'model name' /proc/cpuinfo; nproc",
    "kernel": "cat /proc/version",
    "driver": "cat /proc/driver/nvidia/version",
    "cards": 'for d in /sys/bus/pci/devices/*; do [ "$(cat $d/vendor)" = 0x10de ] && case "$(cat $d/class)" in 0x03*) '
    'echo "${d##*/} $(cat $d/current_link_speed | cut -d" " -f1) $(cat $d/max_link_speed | cut -d" " -f1) '
    '$(cat $d/current_link_width) $(cat $d/max_link_width)";; esac; done',
    "smi": "nvidia-smi --query-gpu=index,name,compute_cap,driver_version,ecc.errors.uncorrected.volatile.total,"
    "temperature.gpu,clocks_throttle_reasons.active --format=csv,noheader",
    "xid": "timeout 2 cat /dev/kmsg | grep -i -E 'NVRM: Xid|nvme.*(error|timeout)|XFS.*(corrupt|error)' | tail -20",
}
SCRIPT = "\n".join(f"echo '{MARK}{name}'\n({command}) 2>/dev/null" for name, command in SECTIONS.items()) + "\nexit 0"


def read_node(site: Site, cluster: Cluster) -> dict[str, list[str]]:
    """Section → lines, as the engine's pod sees its node.

    Errors: ClusterError when there is no pod; ModelError when no command may be run in it.
    """
    pod = find_pod(site, cluster)
    probe = FileProbe(site.cluster.namespace, str(pod["metadata"]["name"]), "engine", "/")
    return sections(run_in(cluster, probe, ["sh", "-c", SCRIPT], quiet_s=QUIET_S))


def sections(lines: Sequence[str]) -> dict[str, list[str]]:
    """The printed lines by section."""
    found: dict[str, list[str]] = {}
    now = ""
    for line in lines:
        if line.startswith(MARK):
            now = line.removeprefix(MARK)
            found[now] = []
        elif now and line.strip():
            found[now].append(line.strip())
    return found
