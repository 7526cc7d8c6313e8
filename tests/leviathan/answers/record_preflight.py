"""Records what a real API server answers to `leviathan preflight`, into `preflight/NAME.json` next to this file.

The control plane's kubeconfigs admin, restricted and wrong are used; the namespaces lab-* and the nodes lab-* in it are
used up. The `fieldsV1` of managedFields are left out: nothing reads them here.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from preflight_site import scene_site
from record_api import recorded

from leviathan.cluster.client import Cluster, ClusterError, connect
from leviathan.manifests.rendering import render
from leviathan.preflight.facts import Facts
from leviathan.preflight.preflight_phase import CHECKS, ask
from leviathan.site.load import load
from leviathan.terminal.output import Console

MERGE = "application/merge-patch+json"
#: Checks that ask the cluster.
ASKING = [name for name in CHECKS if name not in ("image", "registry", "march")]
Scene = Callable[[Cluster], object]


def space(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def service(name: str, port: int) -> dict[str, Any]:
    spec = {"type": "NodePort", "selector": {"app": name}, "ports": [{"port": 80, "nodePort": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def deployment(name: str, label: str) -> dict[str, Any]:
    labels = {"app": label}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "c:1"}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def pod(name: str, node: str, **requests: str) -> dict[str, Any]:
    limits = {"nvidia.com/gpu": requests["nvidia.com/gpu"]} if "nvidia.com/gpu" in requests else {}
    container = {"name": "c", "image": "c:1", "resources": {"requests": requests, "limits": limits}}
    spec = {"nodeName": node, "containers": [container], "tolerations": [{"operator": "Exists"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def node(name: str, spec: dict[str, Any], conditions: list[dict[str, Any]], **labels: str) -> dict[str, Any]:
    status = {
        "capacity": {"cpu": "96", "memory": "384Gi", "pods": "110"},
        "allocatable": {"cpu": "95500m", "memory": "395137Mi", "pods": "110"},
        "conditions": conditions,
        "nodeInfo": dict.fromkeys(INFO, "") | {"architecture": "arm64", "operatingSystem": "linux"},
    }
    meta = {"name": name, "labels": {"kubernetes.io/hostname": f"{name}-host", **labels}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": spec, "status": status}


INFO = (
    *("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion"),
    *("kubeletVersion", "kubeProxyVersion"),
)


def taken(cluster: Cluster) -> None:
    """Others have the port, the names, a GPU and most of the memory; the namespace enforces baseline."""
    cluster.create("/api/v1/namespaces", space("lab-taken", **{"pod-security.kubernetes.io/enforce": "baseline"}))
    cluster.create("/api/v1/namespaces", space("lab-other"))
    cluster.create("/api/v1/namespaces/lab-other/services", service("web", 30000))
    cluster.create("/api/v1/namespaces/lab-taken/services", service("leviathan-inference", 30007))
    cluster.create("/apis/apps/v1/namespaces/lab-taken/deployments", deployment("cortex-leviathan", "by-hand"))
    wants = {"nvidia.com/gpu": "1", "memory": "200Gi", "cpu": "1500m"}
    cluster.create("/api/v1/namespaces/lab-other/pods", pod("trainer", "talos-u8k-rze", **wants))


def ours(cluster: Cluster) -> None:
    """Everything has been applied already, and the engine's pod holds both GPUs."""
    from leviathan.cluster.kinds import path_of  # noqa: PLC0415

    for each in render(scene_site("ours"), {}).objects:
        cluster.apply(path_of(each), each)
    ends = time.monotonic() + 60
    while not any(each["spec"].get("nodeName") for each in cluster.list("/api/v1/namespaces/lab-ours/pods")):
        assert time.monotonic() < ends, "the scheduler has not bound the engine's pod"
        time.sleep(0.2)


def moved(cluster: Cluster) -> None:
    """The unprivileged variant has been applied, with another partition and size than the site has now."""
    from leviathan.cluster.kinds import path_of  # noqa: PLC0415

    for each in render(scene_site("moved", nvme__partition="/dev/nvme0n1p1", nvme__size_gb="3700"), {}).objects:
        cluster.apply(path_of(each), each)


def bad_node(cluster: Cluster) -> None:
    """A node that is not Ready, cordoned, tainted, of another architecture, without GPUs; a RuntimeClass for others."""
    cluster.create("/api/v1/namespaces", space("lab-bad"))
    condition = {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "CNI is not ready"}
    pressure = {"type": "DiskPressure", "status": "True", "reason": "Full", "message": "the disk is full"}
    taints = [{"key": "lab/reserved", "value": "yes", "effect": "NoSchedule"}]
    found = node("lab-bad", {"unschedulable": True, "taints": taints}, [condition, pressure])
    cluster.create("/api/v1/nodes", found)
    body = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "lab-legacy"}}
    body |= {"handler": "nvidia-legacy", "scheduling": {"nodeSelector": {"gpu": "legacy"}}}
    cluster.create("/apis/node.k8s.io/v1/runtimeclasses", body)


def ending(cluster: Cluster) -> None:
    """The namespace is being deleted and hangs on a finalizer."""
    cluster.create("/api/v1/namespaces", space("lab-ending"))
    holder = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "holder", "finalizers": ["lab/holds"]}}
    cluster.create("/api/v1/namespaces/lab-ending/configmaps", holder)
    cluster.delete("/api/v1/namespaces/lab-ending")


def nothing(cluster: Cluster) -> None:
    """The cluster as it stands."""


#: name → what is made first, whose kubeconfig asks.
SCENES: dict[str, tuple[Scene, str]] = {
    "fine": (nothing, "admin"),
    "unprivileged": (nothing, "admin"),
    "taken": (taken, "admin"),
    "ours": (ours, "admin"),
    "moved": (moved, "admin"),
    "bad-node": (bad_node, "admin"),
    "no-node": (nothing, "admin"),
    "ending": (ending, "admin"),
    "restricted": (nothing, "restricted"),
    "wrong": (nothing, "wrong"),
}


def clean(cluster: Cluster) -> None:
    """Take away what the scenes have made; a bound pod has no kubelet to end it."""
    cluster.delete("/api/v1/nodes/lab-bad")
    cluster.delete("/apis/node.k8s.io/v1/runtimeclasses/lab-legacy")
    cluster.delete("/api/v1/persistentvolumes/leviathan-models")
    ends = time.monotonic() + 120
    while left := [
        name for each in cluster.list("/api/v1/namespaces") if (name := each["metadata"]["name"])[:4] == "lab-"
    ]:
        assert time.monotonic() < ends, f"{left} do not go away"
        for name in left:
            cluster.delete(f"/api/v1/namespaces/{name}")
            for item in cluster.list(f"/api/v1/namespaces/{name}/pods"):
                cluster.delete(f"/api/v1/namespaces/{name}/pods/{item['metadata']['name']}", gracePeriodSeconds=0)
            holder = f"/api/v1/namespaces/{name}/configmaps/holder"
            if cluster.get(holder):
                with suppress(ClusterError):  # it may go between the two
                    cluster.patch(holder, {"metadata": {"finalizers": None}}, content_type=MERGE)
        time.sleep(0.5)


@contextmanager
def played(cluster: Cluster, scene: Scene) -> Iterator[None]:
    clean(cluster)
    try:
        scene(cluster)
        yield
    finally:
        clean(cluster)


def without_fields(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_fields(each) for key, each in value.items() if key != "fieldsV1"}
    return [without_fields(each) for each in value] if isinstance(value, list) else value


def given(cluster: Cluster) -> Cluster:
    return cluster


def main(plane: Path, wanted: list[str]) -> None:
    """Record the scenes `wanted`, or all, with the control plane in the folder `plane`."""
    admin = connect(load().site, {"KUBECONFIG": str(plane / "admin.kubeconfig")})
    for name in wanted or SCENES:
        scene, who = SCENES[name]
        site = scene_site(name)
        with played(admin, scene):
            asking = connect(site, {"KUBECONFIG": str(plane / f"{who}.kubeconfig")})
            asking, recording = recorded(asking)
            facts = Facts(site, {}, Console(), connect=partial(given, asking))
            for check in ASKING:
                for found in ask(CHECKS[check], facts):
                    sys.stderr.write(f"{name}: {check}: {found.level.value}: {found.text}\n")
            recording.exchanges[:] = without_fields(recording.exchanges)
            recording.save(f"preflight/{name}")
