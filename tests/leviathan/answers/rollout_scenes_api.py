"""Scenes of the control plane alone: what goes well, the Deployment, the scheduler, the node controller."""

import time
from typing import Any

from played_kubelet import NODE, now
from rollout_bench import MERGE, Bench, scene

# --- what goes well


@scene("loading")
def loading(bench: Bench) -> None:
    bench.apply()
    kubelet = bench.kubelet()
    kubelet.event("Pulling", f'Pulling image "{kubelet.image}"')
    kubelet.event("Pulled", f'Successfully pulled image "{kubelet.image}" in 36.1s (36.1s including waiting).')
    kubelet.event("Created", "Created container: engine")
    kubelet.event("Started", "Started container engine")
    kubelet.event("Unhealthy", "Startup probe failed: HTTP probe failed with statuscode: 503", warning=True)
    kubelet.running()


@scene("pulling")
def pulling(bench: Bench) -> None:
    bench.apply()
    kubelet = bench.kubelet()
    kubelet.event("Pulling", f'Pulling image "{kubelet.image}"')


@scene("ready")
def ready(bench: Bench) -> None:
    bench.apply()
    bench.kubelet().running(ready=True)
    bench.until("available", lambda: (bench.cluster.get(bench.deployment) or {})["status"].get("availableReplicas"))


# --- the Deployment


@scene("no-deployment")
def no_deployment(bench: Bench) -> None:
    bench.apply(without=("Deployment",))


@scene("paused")
def paused(bench: Bench) -> None:
    bench.apply(change=lambda each: each["kind"] == "Deployment" and each["spec"].update(paused=True))
    bench.until("seen", lambda: (bench.cluster.get(bench.deployment) or {})["status"].get("observedGeneration"))


@scene("no-replicas")
def no_replicas(bench: Bench) -> None:
    bench.apply(change=lambda each: each["kind"] == "Deployment" and each["spec"].update(replicas=0))
    bench.until("a ReplicaSet", lambda: bench.cluster.list(f"{bench.apps}/replicasets"))
    time.sleep(1)


@scene("no-service")
def no_service(bench: Bench) -> None:
    bench.apply(without=("Service",))
    bench.kubelet().running(ready=True)


def refused(bench: Bench) -> None:
    """Wait until the Deployment has heard that no pod can be made."""

    def failure() -> bool:
        conditions = (bench.cluster.get(bench.deployment) or {}).get("status", {}).get("conditions") or []
        return any(each["type"] == "ReplicaFailure" for each in conditions)

    bench.until("ReplicaFailure", failure)


@scene("pod-security")
def pod_security(bench: Bench) -> None:
    def unlabel(each: dict[str, Any]) -> None:
        if each["kind"] == "Namespace":
            each["metadata"]["labels"].pop("pod-security.kubernetes.io/enforce")

    bench.apply(change=unlabel)
    refused(bench)


@scene("quota")
def quota(bench: Bench) -> None:
    bench.apply(without=("Deployment",))
    spec = {"hard": {"requests.memory": "64Gi", "requests.cpu": "96"}}
    bench.cluster.create(
        f"{bench.core}/resourcequotas",
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team"}, "spec": spec},
    )
    path = f"{bench.core}/resourcequotas/team"
    bench.until("the quota's count", lambda: (bench.cluster.get(path) or {}).get("status", {}).get("used"))
    bench.apply()
    refused(bench)


@scene("limit-range")
def limit_range(bench: Bench) -> None:
    bench.apply(without=("Deployment",))
    spec = {"limits": [{"type": "Container", "max": {"memory": "128Gi"}}]}
    bench.cluster.create(
        f"{bench.core}/limitranges",
        {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "team"}, "spec": spec},
    )
    time.sleep(1)
    bench.apply()
    refused(bench)


@scene("runtime-class", "cluster.runtime_class=nvidia-legacy")
def runtime_class(bench: Bench) -> None:
    bench.apply()
    refused(bench)


@scene("deadline")
def deadline(bench: Bench) -> None:
    bench.apply(change=lambda each: each["kind"] == "Deployment" and each["spec"].update(progressDeadlineSeconds=2))
    bench.kubelet().running()

    def over() -> bool:
        conditions = (bench.cluster.get(bench.deployment) or {})["status"].get("conditions") or []
        return any(each.get("reason") == "ProgressDeadlineExceeded" for each in conditions)

    bench.until("the deadline", over)


@scene("old-pod-stays")
def old_pod_stays(bench: Bench) -> None:
    def hold(each: dict[str, Any]) -> None:
        if each["kind"] == "Deployment":
            each["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 1

    bench.apply(change=hold)
    kubelet = bench.kubelet()
    kubelet.running(ready=True)

    def again(each: dict[str, Any]) -> None:
        if each["kind"] == "Deployment":
            each["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "AGAIN", "value": "1"})

    bench.apply(change=again)
    path = f"{bench.core}/pods/{kubelet.name}"
    bench.until("its end", lambda: "deletionTimestamp" in (bench.cluster.get(path) or {"metadata": {}})["metadata"])
    time.sleep(1)


@scene("stranger")
def stranger(bench: Bench) -> None:
    bench.apply()
    bench.kubelet().running(ready=True)
    template = (bench.cluster.get(bench.deployment) or {})["spec"]["template"]
    spec = {"containers": [{"name": "engine", "image": "busybox"}], "nodeName": NODE}
    assert template["metadata"]["labels"]["app"] == bench.site.workload.app
    bench.cluster.create(
        f"{bench.core}/pods",
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "by-hand", "labels": {"app": bench.site.workload.app}},
            "spec": spec,
        },
    )


# --- the scheduler


@scene("insufficient-gpu")
def insufficient_gpu(bench: Bench) -> None:
    bench.apply(without=("Deployment",))
    resources = {"requests": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}}
    spec = {"containers": [{"name": "other", "image": "busybox", "resources": resources}], "nodeName": NODE}
    bench.cluster.create(
        f"{bench.core}/pods", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "other"}, "spec": spec}
    )
    bench.apply()
    bench.unschedulable()


@scene("too-few-gpus", "resources.gpus=3", "engine.gpu_split=1,1,1")
def too_few_gpus(bench: Bench) -> None:
    bench.apply()
    bench.unschedulable()


@scene("insufficient-cpu", "resources.cpu_request=200", "resources.cpu_limit=200")
def insufficient_cpu(bench: Bench) -> None:
    bench.apply()
    bench.unschedulable()


@scene("insufficient-memory", "resources.memory_request=500Gi", "resources.memory_limit=500Gi")
def insufficient_memory(bench: Bench) -> None:
    bench.apply()
    bench.unschedulable()


@scene("node-selector", "cluster.node=talos-node-0")
def node_selector(bench: Bench) -> None:
    bench.apply()
    bench.unschedulable()


@scene("taint")
def taint(bench: Bench) -> None:
    bench.node({"spec": {"taints": [{"key": "maintenance", "value": "disks", "effect": "NoSchedule"}]}})
    bench.apply()
    bench.unschedulable()


@scene("cordoned")
def cordoned(bench: Bench) -> None:
    bench.node({"spec": {"unschedulable": True}})
    bench.apply()
    bench.unschedulable()


@scene("volume-unbound", "workload.variant=unprivileged")
def volume_unbound(bench: Bench) -> None:
    bench.apply(without=("PersistentVolume",))
    bench.unschedulable()


@scene("host-port-taken")
def host_port_taken(bench: Bench) -> None:
    bench.apply(without=("Deployment",))
    port = {"containerPort": 30000, "hostPort": 30000}
    spec = {"containers": [{"name": "other", "image": "busybox", "ports": [port]}], "nodeName": NODE}
    bench.cluster.create(
        f"{bench.core}/pods", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "other"}, "spec": spec}
    )

    def host_port(each: dict[str, Any]) -> None:
        if each["kind"] == "Deployment":
            each["spec"]["template"]["spec"]["containers"][0]["ports"][0]["hostPort"] = 30000

    bench.apply(change=host_port)
    bench.unschedulable()


@scene("node-not-ready", "cluster.node=talos-two")
def node_not_ready(bench: Bench) -> None:
    """A node that stops to report: the node controller says so itself."""
    real = bench.cluster.get(f"/api/v1/nodes/{NODE}")
    assert real is not None
    labels = {"kubernetes.io/hostname": "talos-two", "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    bench.cluster.create(
        "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "talos-two", "labels": labels}}
    )
    status = {key: real["status"][key] for key in ("allocatable", "capacity", "nodeInfo")}
    conditions = [
        {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
        | {"lastHeartbeatTime": now(), "lastTransitionTime": now()}
    ]
    path = "/api/v1/nodes/talos-two"
    bench.cluster.patch(f"{path}/status", {"status": {**status, "conditions": conditions}}, content_type=MERGE)
    bench.cluster.patch(path, {"spec": {"taints": None}}, content_type=MERGE)
    bench.apply()
    bench.kubelet().running()

    def unknown() -> bool:
        node = bench.cluster.get(path) or {}
        found = node.get("status", {}).get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "Unknown" for each in found)

    bench.until("NotReady", unknown, 120)
    time.sleep(1)
