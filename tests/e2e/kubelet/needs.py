"""Whether this machine allows a real kubelet: each need with the one line that says what is missing."""

import os
import shutil
import subprocess
from pathlib import Path

SETUP = "run scripts/setup e2e-kubelet"
CGROUPS = Path("/sys/fs/cgroup")
CONTROLLERS = ("blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids")
PROGRAMS = {  # program → Debian's package that has it
    "containerd": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "iptables-restore": "iptables",
    "ip": "iproute2",
    "unshare": "util-linux",
    "setpriv": "util-linux",
}
PLUGINS = Path("/usr/lib/cni")  # Debian's containernetworking-plugins
PLUGIN_NAMES = ("bridge", "host-local", "loopback", "portmap")
PARTS = ("kubelet", "kube-proxy", "device-plugin")
SYSTEM = ("/usr/sbin", "/sbin")
NAMESPACES = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc")


def path() -> str:
    """PATH with the folders of the system's programs, which a user's own does not always have."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM])


def missing(kubernetes: Path, plugins: Path = PLUGINS, cgroups: Path = CGROUPS) -> str:
    """What root on this machine lacks and the remedy, in one line; "" where a kubelet can run.

    Arguments: `kubernetes`, the folder of the Kubernetes programs; `plugins`, that of the CNI plugins; `cgroups`, where
    the controllers are mounted.
    """
    programs = [name for name in PROGRAMS if shutil.which(name, path=path()) is None]
    if programs:
        return f"a kubelet needs {', '.join(programs)} (Debian: {', '.join(packages(programs))}); {SETUP}"
    absent = [name for name in PLUGIN_NAMES if not os.access(plugins / name, os.X_OK)]
    if absent:
        return f"{plugins} lacks {', '.join(absent)} (Debian: containernetworking-plugins); {SETUP}"
    absent = [name for name in PARTS if not os.access(kubernetes / name, os.X_OK)]
    if absent:
        return f"{kubernetes} lacks {', '.join(absent)}; run scripts/kubernetes"
    absent = [name for name in CONTROLLERS if not (cgroups / name / "cgroup.procs").exists()]
    if absent:
        return (
            f"the node is made for control groups of version 1, and {cgroups} has no {', '.join(absent)}; "
            "run it where the kernel was started with systemd.unified_cgroup_hierarchy=0"
        )
    return ""


def packages(programs: list[str]) -> list[str]:
    """The Debian packages that have `programs`."""
    return sorted({PROGRAMS[name] for name in programs})


def namespaces() -> str:
    """What the machine says when asked for namespaces, as a line with the remedy; "" when it gives them."""
    done = subprocess.run(
        [*NAMESPACES, "true"], capture_output=True, text=True, check=False, timeout=30, env={"PATH": path()}
    )
    if done.returncode == 0:
        return ""
    said = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return f"this machine gives no mount, network and process namespaces ({said}); run it with CAP_SYS_ADMIN"
