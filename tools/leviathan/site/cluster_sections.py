"""Sections of the site file: the cluster, the objects in it, the engine, and where the model is stored."""

from dataclasses import dataclass
from typing import Annotated

from leviathan.site import hints
from leviathan.site.choices import Kept, ServiceType, Storage, Variant
from leviathan.site.keys import Key, between, each_like, like, quantity, zero_or
from leviathan.site.patterns import ABSOLUTE, ADDRESS, LABEL, NAME, PARTITION, RESOURCE, URL


@dataclass(frozen=True)
class Cluster:
    """Where the engine runs."""

    context: Annotated[str, Key("kubeconfig context; empty: the current one")]
    namespace: Annotated[str, Key("namespace of all objects", **like(NAME, "ai-workloads"))]
    make_namespace: Annotated[bool, Key("whether apply creates the Namespace; false: it must exist already")]
    node: Annotated[
        str,
        Key(
            "node with the GPUs and the model; empty: any node with node_labels",
            **like(r"([a-z0-9]([-.a-z0-9]*[a-z0-9])?)?", "talos-u8k-rze"),
        ),
    ]
    node_labels: Annotated[
        tuple[str, ...],
        Key("labels that the node must have", **each_like(LABEL, '["nvidia.com/gpu.product=NVIDIA-GeForce-RTX-4090"]')),
    ]
    address: Annotated[
        str, Key("IP address or host name of the NodePort", **like(ADDRESS, "192.168.3.2"), hint=hints.address)
    ]
    runtime_class: Annotated[
        str, Key("RuntimeClass of the pod; empty: the cluster's default runtime", **like(f"({NAME})?", "nvidia"))
    ]
    node_memory: Annotated[str, Key("memory of the node, for commands that do not query it", **quantity("384Gi"))]


@dataclass(frozen=True)
class Workload:
    """Names of the objects."""

    variant: Annotated[Variant, Key("privileged: the pod mounts the partition; unprivileged: the kubelet mounts it")]
    deployment: Annotated[str, Key("name of the Deployment", **like(NAME, "cortex-leviathan"))]
    service: Annotated[str, Key("name of the Service", **like(NAME, "leviathan-inference"))]
    app: Annotated[str, Key("value of the pod's label app", **like(NAME, "leviathan-671b"))]


@dataclass(frozen=True)
class Engine:
    """The engine's flags."""

    model_path: Annotated[str, Key("GGUF folder in the pod", **like(ABSOLUTE, "/models/models/deepseek-v3-gguf"))]
    model_name: Annotated[str, Key("model name in the API", **like(r"\S+", "deepseek-v3"))]
    host: Annotated[str, Key("address that the engine listens on in the pod", **like(r"[0-9A-Za-z.:-]+", "0.0.0.0"))]
    port: Annotated[int, Key("port that the engine listens on in the pod", **between(1, 65535))]
    node_port: Annotated[
        int, Key("port on the node; 0: Kubernetes chooses", **zero_or(30000, 32767), hint=hints.node_port)
    ]
    cpu_threads: Annotated[int, Key("CPU threads for the experts", **between(1, 1024))]
    gpu_split: Annotated[tuple[int, ...], Key("memory to use on each GPU in MB, one integer per GPU")]
    cache_lens: Annotated[int, Key("size of the KV cache in tokens; 0: as many as fit", **zero_or(64, 1 << 24))]
    max_new_tokens: Annotated[
        int, Key("maximum tokens of an answer; 0: what the prompt leaves free", **zero_or(1, 1 << 24))
    ]
    queue: Annotated[int, Key("maximum number of waiting requests; 0: the engine's default, 64", **zero_or(1, 100_000))]
    kept: Annotated[Kept, Key("where conversations evicted from GPU memory are stored, in addition to main memory")]
    kept_claim: Annotated[
        str, Key("for kept = claim: name of a writable PersistentVolumeClaim", **like(f"({NAME})?", "deepseek-talks"))
    ]
    kept_gb: Annotated[float, Key("maximum size of stored conversations in GB (10^9 bytes)", **between(1, 1e6, "GB"))]
    chat_template: Annotated[
        str, Key("Jinja file that replaces the model's chat template, local or below storage.mount_point; empty: none")
    ]


@dataclass(frozen=True)
class Resources:
    """Kubernetes resources of the container."""

    gpus: Annotated[int, Key("number of GPUs (of resources.gpu_resource)", **between(1, 16), hint=hints.gpus)]
    gpu_resource: Annotated[
        str, Key("resource that the device plugin offers", **like(RESOURCE, "nvidia.com/gpu or nvidia.com/gpu.shared"))
    ]
    cpu_limit: Annotated[str, Key("CPU limit", **quantity("96"))]
    cpu_request: Annotated[str, Key("CPU request", **quantity("48"))]
    memory_limit: Annotated[str, Key("memory limit", **quantity("360Gi"))]
    memory_request: Annotated[str, Key("memory request", **quantity("256Gi"))]
    shm: Annotated[str, Key("size of /dev/shm", **quantity("64Gi"))]


@dataclass(frozen=True)
class ServiceSettings:
    """How clients reach the engine."""

    type: Annotated[ServiceType, Key("type of the Service")]
    url: Annotated[
        str,
        Key(
            "URL that clients use; empty: http://cluster.address and the port",
            **like(f"({URL})?", "https://leviathan.example.org"),
        ),
    ]


@dataclass(frozen=True)
class StorageSettings:
    """Where the model's files are."""

    kind: Annotated[Storage, Key("what the model is stored on")]
    partition: Annotated[
        str,
        Key(
            "partition, device-mapper device or md device; not a whole disk",
            **like(PARTITION, "/dev/nvme0n1p1, /dev/disk/by-partuuid/... or /dev/mapper/vg0-models"),
            hint=hints.partition,
        ),
    ]
    filesystem: Annotated[
        str, Key("file system of the partition, any that the node's kernel supports", **like(r"[a-z0-9]+", "xfs"))
    ]
    size_gb: Annotated[float, Key("size of the volume in GB (10^9 bytes)", **between(1, 1e6, "GB"))]
    mount_point: Annotated[str, Key("mount point in the pod", **like(ABSOLUTE, "/models"))]
    volume: Annotated[
        str,
        Key(
            "name of the volume and its claim; empty: derived from workload.deployment",
            **like(f"({NAME})?", "leviathan-models"),
        ),
    ]
    storage_class: Annotated[
        str, Key("for kind = pvc: StorageClass; empty: the cluster's default", **like(f"({NAME})?", "local-path"))
    ]
    claim: Annotated[
        str, Key("for kind = existing_claim: the claim that holds the model", **like(f"({NAME})?", "deepseek-models"))
    ]
    path: Annotated[
        str, Key("for kind = host_path: folder on the node", **like(f"({ABSOLUTE})?", "/srv/models"), hint=hints.path)
    ]
