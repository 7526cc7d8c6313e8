"""What the run's own namespaces look like from within: private mounts over all that a kubelet and containerd write."""

import os
from pathlib import Path

from e2e.scenarios.errors import run

from . import cgroup, needs, network

GROUP = "LEVIATHAN_E2E_GROUP"  # set inside the namespaces: the name of the run's control group
SYSCTL = {  # what a kubelet wants of a node's kernel; shown to it, not set
    "vm/overcommit_memory": "1",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def settle(folder: Path) -> None:
    """Mounts, network and control groups for a node whose files are to lie in `folder`. Errors: WayError, OSError."""
    os.environ["PATH"] = needs.path()
    run(["mount", "--make-rprivate", "/"])
    network.make()
    run(["mount", "-t", "tmpfs", "tmpfs", "/run"])
    over(Path("/var/lib"), folder)
    bind(folder / "log", Path("/var/log"))
    bind(folder / "kubelet", Path("/var/lib/kubelet"))
    for key, value in SYSCTL.items():
        shown = folder / key.replace("/", "_")
        shown.write_text(value + "\n", encoding="ascii")
        if Path("/proc/sys", key).exists():
            run(["mount", "--bind", str(shown), f"/proc/sys/{key}"])
    cgroup.make(os.environ[GROUP])


def over(place: Path, folder: Path) -> None:
    """Whatever is written below `place` from now on goes to `folder`."""
    upper, work = folder / f"{place.name}-upper", folder / f"{place.name}-work"
    for one in (upper, work):
        one.mkdir(parents=True, exist_ok=True)
    run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={place},upperdir={upper},workdir={work}", str(place)])


def bind(own: Path, place: Path) -> None:
    """The folder `own` stands at `place`; mounts made below it reach the containers, as a kubelet needs it."""
    own.mkdir(parents=True, exist_ok=True)
    place.mkdir(parents=True, exist_ok=True)
    run(["mount", "--bind", str(own), str(place)])
    run(["mount", "--make-rshared", str(place)])
