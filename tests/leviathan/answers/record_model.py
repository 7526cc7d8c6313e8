"""Records what a real API server answers about the download's pod in each state, into `model/NAME.json` in this folder.

The control plane has no kubelet for the node talos-u8k-rze; the namespace lab-model in it is used up. The scheduler is
the real one; what a kubelet would write into the pod's status is written here, in the kubelet's words.
"""

import sys
import time
from pathlib import Path
from typing import Any

from record_api import recorded
from record_preflight import MERGE, clean, space

from leviathan.cluster.client import Cluster, ClusterError, RetryPolicy, connect
from leviathan.site.load import load

SPACE, NAME = "lab-model", "sysadmin-logistics"
PODS = f"/api/v1/namespaces/{SPACE}/pods"
CONTAINER_ID = "containerd://" + "7" * 64
TIMES = {"startedAt": "2026-11-23T20:00:00Z", "finishedAt": "2026-11-23T21:00:00Z", "containerID": CONTAINER_ID}


def ended(code: int, reason: str, message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, **({"message": message} if message else {}), **TIMES}}


def waiting(reason: str, message: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


RUNNING = {"running": {"startedAt": TIMES["startedAt"]}}
BACK_OFF = "back-off 5m0s restarting failed container=download pod=sysadmin-logistics_lab-model(0)"
PULL = 'Back-off pulling image "192.168.3.10:5000/tools/download:1": not found'
#: name → phase, state of the container, how it ended before, restarts; None: as the scheduler leaves the pod.
SCENES: dict[str, tuple[str, dict[str, Any], dict[str, Any], int] | None] = {
    "unschedulable": None,
    "creating": ("Pending", {"waiting": {"reason": "ContainerCreating"}}, {}, 0),
    "running": ("Running", RUNNING, {}, 0),
    "succeeded": ("Succeeded", ended(0, "Completed"), {}, 0),
    "failed": ("Failed", ended(1, "Error", "disk full"), {}, 0),
    "looping": ("Running", waiting("CrashLoopBackOff", BACK_OFF), ended(0, "Completed"), 5),
    "image": ("Pending", waiting("ImagePullBackOff", PULL), {}, 0),
    "missing": ("", {}, {}, 0),
}


def play(cluster: Cluster, name: str) -> None:
    cluster.create("/api/v1/namespaces", space(SPACE, **{"pod-security.kubernetes.io/enforce": "privileged"}))
    if name == "missing":
        return
    given = SCENES[name]
    spec: dict[str, Any] = {
        "containers": [{"name": "download", "image": "192.168.3.10:5000/tools/download:1"}],
        "nodeSelector": {"kubernetes.io/hostname": "talos-u8k-rze" if given else "nowhere"},
        "automountServiceAccountToken": False,
    }
    ends = time.monotonic() + 60
    while True:  # the service account of the new namespace takes a moment
        try:
            cluster.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME}, "spec": spec})
            break
        except ClusterError:
            assert time.monotonic() < ends, "the pod cannot be created"
            time.sleep(0.2)
    while True:
        pod = cluster.get(f"{PODS}/{NAME}") or {}
        if pod.get("spec", {}).get("nodeName") or pod.get("status", {}).get("conditions"):
            break
        assert time.monotonic() < ends, "the scheduler does not look at the pod"
        time.sleep(0.2)
    if given is not None:
        phase, state, last, restarts = given
        mine = {"name": "download", "image": "download:1", "imageID": "", "ready": "running" in state}
        mine |= {"state": state, "lastState": last, "restartCount": restarts}
        patch = {"status": {"phase": phase, "containerStatuses": [mine]}}
        cluster.patch(f"{PODS}/{NAME}/status", patch, content_type=MERGE)


def main(plane: Path, wanted: list[str]) -> None:
    """Record the scenes `wanted`, or all, with the control plane in the folder `plane`."""
    admin = connect(load().site, {"KUBECONFIG": str(plane / "admin.kubeconfig")})
    for name in wanted or SCENES:
        clean(admin)
        play(admin, name)
        asking, recording = recorded(connect(load().site, {"KUBECONFIG": str(plane / "admin.kubeconfig")}))
        asking.transport.patience = RetryPolicy(first_s=0.1, again_s=0.1)
        asking.get(f"{PODS}/{NAME}")
        try:  # nobody serves it: what the API server says then is recorded
            list(asking.log(SPACE, NAME, container="download"))
        except ClusterError as error:
            sys.stderr.write(f"{name}: log: {error.status} {error.reason}: {error.why}\n")
        recording.save(f"model/{name}")
    clean(admin)
