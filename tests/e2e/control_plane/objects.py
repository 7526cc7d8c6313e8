"""What a cluster holds before anyone deploys to it: node, runtime class, a restricted user, Talos's admission."""

from .api import Json

NODE = "talos-u8k-rze"
NAMESPACE = "ai-workloads"
RESTRICTED_USER = "leviathan-reader"
CAPACITY = {
    "cpu": "96",
    "memory": "384Gi",
    "ephemeral-storage": "200Gi",
    "pods": "110",
    "nvidia.com/gpu": "2",
}


def admission() -> Json:
    """Pod Security as Talos sets it: `baseline` is enforced where a namespace says nothing, kube-system is exempt.

    Kubernetes: "Enforce Pod Security Standards by Configuring the Built-in Admission Controller".
    """
    levels = {"enforce": "baseline", "audit": "restricted", "warn": "restricted"}
    defaults = {**levels, **{f"{level}-version": "latest" for level in levels}}
    security = {
        "apiVersion": "pod-security.admission.config.k8s.io/v1",
        "kind": "PodSecurityConfiguration",
        "defaults": defaults,
        "exemptions": {"usernames": [], "runtimeClasses": [], "namespaces": ["kube-system"]},
    }
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{"name": "PodSecurity", "configuration": security}],
    }


def node(name: str = NODE, capacity: dict[str, str] | None = None) -> Json:
    """A Node as a kubelet registers it."""
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "node-role.kubernetes.io/control-plane": "",
    }
    have = dict(capacity or CAPACITY)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {"capacity": have, "allocatable": have},
    }


def node_status(ready: bool, now: str, capacity: dict[str, str] | None = None, kubelet_port: int = 10250) -> Json:
    """The status that a kubelet reports: conditions at time `now` (RFC 3339), capacity, its address and port."""
    have = dict(capacity or CAPACITY)
    conditions = [
        condition("MemoryPressure", "False", "KubeletHasSufficientMemory", now),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure", now),
        condition("PIDPressure", "False", "KubeletHasSufficientPID", now),
        condition("Ready", "True" if ready else "False", "KubeletReady" if ready else "KubeletNotReady", now),
    ]
    info = {
        "architecture": "amd64",
        "operatingSystem": "linux",
        "osImage": "Talos (v1.11.0)",
        "kubeletVersion": "v1.34.0",
        "kubeProxyVersion": "",
        "containerRuntimeVersion": "containerd://2.1.4",
        "kernelVersion": "6.12.43-talos",
        "machineID": "e2e",
        "systemUUID": "e2e",
        "bootID": "e2e",
    }
    return {
        "status": {
            "capacity": have,
            "allocatable": have,
            "conditions": conditions,
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet_port}},
            "nodeInfo": info,
        }
    }


def condition(kind: str, status: str, reason: str, now: str) -> Json:
    """One condition of a node."""
    return {"type": kind, "status": status, "reason": reason, "message": reason, "lastHeartbeatTime": now}


def lease(name: str, now: str) -> Json:
    """A node's heart beat: a Lease in kube-node-lease, renewed at `now` (RFC 3339 with microseconds)."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now},
    }


def furniture() -> list[tuple[str, Json]]:
    """API path and object of the rest: the runtime class of NVIDIA's toolkit, what the restricted user may do."""
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "User", "name": RESTRICTED_USER, "apiGroup": group}
    role = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": RESTRICTED_USER},
        "rules": [{"apiGroups": ["", "apps"], "resources": ["pods", "deployments"], "verbs": ["get", "list", "watch"]}],
    }
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": RESTRICTED_USER},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": RESTRICTED_USER},
        "subjects": [subject],
    }
    runtime = {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "nvidia"},
        "handler": "nvidia",
    }
    return [
        ("/apis/node.k8s.io/v1/runtimeclasses/nvidia", runtime),
        (f"{rbac}/clusterroles/{RESTRICTED_USER}", role),
        (f"{rbac}/clusterrolebindings/{RESTRICTED_USER}", binding),
    ]
