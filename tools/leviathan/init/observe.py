"""What a cluster shows of itself: the node with the GPUs, its size, runtimes, storage classes; and the registry logins.

Sources: Kubernetes, "Well-Known Labels"; NVIDIA GPU Feature Discovery (nvidia.com/gpu.product, nvidia.com/gpu.memory).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leviathan.cluster.client import Cluster, ClusterError
from leviathan.preflight.node_resources import allocatable

GPU_PREFIXES = ("nvidia.com/gpu", "nvidia.com/mig-")
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


@dataclass(frozen=True)
class GpuNode:
    """A node that offers GPUs: their resource's name and number, MB of each (0: not known), cores, bytes of memory."""

    name: str
    address: str
    resource: str
    gpus: int
    gpu_mb: int
    product: str
    cpus: int
    memory: int
    system: str

    def text(self) -> str:
        """The node in one line."""
        card = self.product or self.resource
        return f"{self.name}: {self.gpus} x {card}, {self.cpus} CPUs, {self.memory / 2**30:.0f} GiB ({self.system})"


@dataclass(frozen=True)
class Seen:
    """What was seen: GPU nodes, RuntimeClasses, StorageClasses with the default one first, registries with a login."""

    nodes: tuple[GpuNode, ...]
    runtimes: tuple[str, ...]
    classes: tuple[str, ...]
    logins: tuple[str, ...]


def observe(cluster: Cluster, login_files: Sequence[Path]) -> Seen:
    """Look at the cluster, and at the login files of podman and Docker.

    Errors: ClusterError when the nodes cannot be read.
    """
    nodes = [found for each in cluster.list("/api/v1/nodes") if (found := gpu_node(each)) is not None]
    runtimes = _names(cluster, "/apis/node.k8s.io/v1/runtimeclasses")
    classes = sorted(_list(cluster, "/apis/storage.k8s.io/v1/storageclasses"), key=lambda each: not _is_default(each))
    return Seen(
        tuple(sorted(nodes, key=lambda node: (-node.gpus, node.name))),
        tuple(runtimes),
        tuple(str(each["metadata"]["name"]) for each in classes),
        tuple(dict.fromkeys(name for path in login_files for name in logins(path))),
    )


def gpu_node(node: dict[str, Any]) -> GpuNode | None:
    """What a node object says; None where it offers no GPU."""
    offered = node.get("status", {}).get("allocatable") or {}
    resource = next((name for name in offered if name.startswith(GPU_PREFIXES) and int(offered[name]) > 0), "")
    if not resource:
        return None
    labels = node["metadata"].get("labels") or {}
    addresses = {each["type"]: each["address"] for each in node["status"].get("addresses") or []}
    info = node["status"].get("nodeInfo") or {}
    return GpuNode(
        name=str(labels.get("kubernetes.io/hostname") or node["metadata"]["name"]),
        address=str(addresses.get("InternalIP", "")),
        resource=resource,
        gpus=int(offered[resource]),
        gpu_mb=int(int(labels.get("nvidia.com/gpu.memory") or 0) * 2**20 / 1e6),
        product=str(labels.get("nvidia.com/gpu.product", "")),
        cpus=int(allocatable(node, "cpu") or 0),
        memory=int(allocatable(node, "memory") or 0),
        system=str(info.get("kubeletVersion", "")),
    )


def logins(config: Path) -> tuple[str, ...]:
    """The registries that a file of Docker's or podman's has a login for."""
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
        names = [*(content.get("auths") or {}), *(content.get("credHelpers") or {})]
    except (OSError, ValueError, AttributeError, TypeError):
        return ()
    return tuple(dict.fromkeys(name.split("://", 1)[-1].split("/", 1)[0] for name in names))


def _list(cluster: Cluster, path: str) -> list[dict[str, Any]]:
    try:
        return cluster.list(path)
    except ClusterError as error:
        if error.status not in (403, 404):
            raise
        return []


def _names(cluster: Cluster, path: str) -> list[str]:
    return [str(each["metadata"]["name"]) for each in _list(cluster, path)]


def _is_default(each: Mapping[str, Any]) -> bool:
    return (each["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"
