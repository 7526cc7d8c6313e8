"""The site: one typed, frozen value with everything that differs from cluster to cluster.

The defaults are the runbook's and stand in `site.toml` beside this module, nowhere else.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from leviathan.site.keys import Key, between, like, quantity, zero_or
from leviathan.site.quantity import parse_quantity

NAME = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
ADDRESS = r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?)"
HOST = rf"{ADDRESS}(:[0-9]{{1,5}})?"
REPOSITORY = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
DIGEST = r"sha256:[0-9a-f]{64}"
PARTITION = (
    r"/dev/((nvme[0-9]+n|mmcblk|loop)[0-9]+p[0-9]+|(sd|vd|xvd)[a-z]+[0-9]+"
    r"|disk/by-(id|path|partuuid|partlabel|uuid|label)/\S+)"
)
ABSOLUTE = r"/|(/[^/\s]+)+"
#: The engine's default of --cache_lens, which holds where engine.cache_lens is 0.
CACHE_TOKENS = 8192


class Variant(Enum):
    """How the partition gets into the pod."""

    PRIVILEGED = "privileged"
    UNPRIVILEGED = "unprivileged"


@dataclass(frozen=True)
class Registry:
    """Where the image goes."""

    host: Annotated[str, Key("registry, with its port", **like(HOST, "192.168.3.10:5000"))]
    plain_http: Annotated[bool, Key("whether the registry speaks HTTP instead of HTTPS")]
    ca_file: Annotated[str, Key("PEM file of the authority that signed its certificate; empty: the system's")]


@dataclass(frozen=True)
class Image:
    """Which image."""

    repository: Annotated[str, Key("repository on the registry", **like(REPOSITORY, "omni/engine"))]
    tag: Annotated[str, Key("tag that is set last", **like(TAG, "leviathan-standard"))]
    layout: Annotated[str, Key("folder with the OCI image layout", **like(r".+", "result"))]
    digest: Annotated[str, Key("digest that render pins; empty: the layout's", **like(f"({DIGEST})?", "sha256:64 hex"))]


@dataclass(frozen=True)
class Push:
    """How the image is uploaded."""

    parallel: Annotated[int, Key("blobs under way at once", **between(1, 32))]
    chunk_mib: Annotated[int, Key("MiB in one request", **between(1, 1024, "MiB"))]
    retries: Annotated[int, Key("attempts in a row without a new byte", **between(0, 100))]
    timeout_s: Annotated[int, Key("seconds without an answer", **between(1, 3600, "s"))]
    heartbeat_s: Annotated[int, Key("seconds between progress lines without a terminal", **between(1, 3600, "s"))]
    mount_from: Annotated[tuple[str, ...], Key("other repositories of the registry that may hold blobs")]


@dataclass(frozen=True)
class Cluster:
    """Where the engine runs."""

    context: Annotated[str, Key("kubeconfig context; empty: the current one")]
    namespace: Annotated[str, Key("namespace of all objects", **like(NAME, "ai-workloads"))]
    node: Annotated[
        str, Key("node with the GPUs and the NVMe", **like(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?", "talos-u8k-rze"))
    ]
    address: Annotated[str, Key("address where the NodePort answers", **like(ADDRESS, "192.168.3.2"))]
    runtime_class: Annotated[str, Key("RuntimeClass of the pod", **like(NAME, "nvidia"))]
    node_memory: Annotated[str, Key("memory of the node, where it is not asked", **quantity("384Gi"))]


@dataclass(frozen=True)
class Workload:
    """Names of the objects."""

    variant: Annotated[Variant, Key("how the partition gets into the pod")]
    deployment: Annotated[str, Key("name of the Deployment", **like(NAME, "cortex-leviathan"))]
    service: Annotated[str, Key("name of the Service", **like(NAME, "leviathan-inference"))]
    app: Annotated[str, Key("label app of the pod", **like(NAME, "leviathan-671b"))]


@dataclass(frozen=True)
class Engine:
    """The engine's flags."""

    model_path: Annotated[str, Key("GGUF folder in the pod", **like(ABSOLUTE, "/models/models/deepseek-v3-gguf"))]
    model_name: Annotated[str, Key("name that clients ask for", **like(r"\S+", "deepseek-v3"))]
    host: Annotated[str, Key("address it listens on in the pod", **like(r"[0-9A-Za-z.:-]+", "0.0.0.0"))]
    port: Annotated[int, Key("port it listens on in the pod", **between(1, 65535))]
    node_port: Annotated[int, Key("port on the node", **between(30000, 32767))]
    cpu_threads: Annotated[int, Key("threads for the experts on the CPU", **between(1, 1024))]
    gpu_split: Annotated[tuple[int, ...], Key("MB for each GPU, one number a GPU")]
    cache_lens: Annotated[int, Key("tokens of the KV cache; 0: the engine's 8192", **zero_or(64, 1 << 24))]
    max_new_tokens: Annotated[
        int, Key("tokens of an answer at most; 0: the engine's 2000, or half of the cache", **zero_or(1, 1 << 24))
    ]
    queue: Annotated[int, Key("requests that may wait; 0: the engine's 64", **zero_or(1, 100_000))]


@dataclass(frozen=True)
class Resources:
    """Kubernetes resources of the container."""

    gpus: Annotated[int, Key("nvidia.com/gpu", **between(1, 16))]
    cpu_limit: Annotated[str, Key("CPU limit", **quantity("96"))]
    cpu_request: Annotated[str, Key("CPU request", **quantity("48"))]
    memory_limit: Annotated[str, Key("memory limit", **quantity("360Gi"))]
    memory_request: Annotated[str, Key("memory request", **quantity("256Gi"))]
    shm: Annotated[str, Key("size of /dev/shm", **quantity("64Gi"))]


@dataclass(frozen=True)
class Nvme:
    """The partition with the model."""

    partition: Annotated[
        str, Key("partition, not the whole disk", **like(PARTITION, "/dev/nvme0n1p1 or /dev/disk/by-partuuid/..."))
    ]
    filesystem: Annotated[str, Key("its file system", **like(r"[a-z0-9]+", "xfs"))]
    size_gb: Annotated[float, Key("its size in GB (10^9 bytes)", **between(1, 1e6, "GB"))]
    mount_point: Annotated[str, Key("where the pod has it", **like(ABSOLUTE, "/models"))]


@dataclass(frozen=True)
class Model:
    """Where the model comes from."""

    size_gb: Annotated[float, Key("bytes that one start reads, in GB (10^9 bytes)", **between(0.001, 1e5, "GB"))]
    pod: Annotated[str, Key("pod that downloads it", **like(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?", "sysadmin-logistics"))]
    pod_namespace: Annotated[str, Key("its namespace; empty: cluster.namespace", **like(f"({NAME})?", "ai-workloads"))]
    done_marker: Annotated[str, Key("text in its log that ends the download", **like(r".+", "DOWNLOAD COMPLETE"))]
    idle_s: Annotated[int, Key("seconds without a word in its log until it counts as stuck", **between(1, 86400, "s"))]
    manifest: Annotated[str, Key("JSON file with names and sizes of the model's files; empty: not checked")]
    folder: Annotated[
        str,
        Key("the model's folder in that pod; empty: engine.model_path", **like(f"({ABSOLUTE})?", "/models/deepseek")),
    ]


@dataclass(frozen=True)
class Start:
    """What a start may take."""

    disk_mb_per_s: Annotated[float, Key("what the partition gives at least", **between(1, 1e5, "MB/s"))]
    network_mb_per_s: Annotated[float, Key("what the node pulls the image with", **between(0.1, 1e5, "MB/s"))]
    image_gb: Annotated[float, Key("compressed size of the image", **between(0.001, 1000, "GB"))]
    setup_s: Annotated[float, Key("engine start without reading weights", **between(0, 3600, "s"))]
    margin: Annotated[float, Key("factor on all of it", **between(1, 20))]


@dataclass(frozen=True)
class Rollout:
    """How long a rollout is waited for, and what it is given up for."""

    timeout_s: Annotated[int, Key("seconds for a whole rollout; 0: the start budget", **between(0, 86400, "s"))]
    idle_s: Annotated[int, Key("seconds without any change", **between(5, 86400, "s"))]
    patience_s: Annotated[int, Key("seconds that a reason to give up has to last", **between(0, 3600, "s"))]
    restarts: Annotated[int, Key("restarts of the engine after which it is given up", **between(1, 100))]
    log_lines: Annotated[int, Key("lines of the engine's log that a failure shows", **between(1, 10000))]
    heartbeat_s: Annotated[int, Key("seconds between two lines without a terminal", **between(1, 3600, "s"))]


@dataclass(frozen=True)
class Smoke:
    """What the endpoint is asked, and how good its answers have to be."""

    prompt: Annotated[str, Key("text that is to be gone on with", **like(r"(?s).*\S.*", "Count from one to ten:"))]
    max_tokens: Annotated[int, Key("tokens of an answer at most", **between(2, 4096))]
    min_tokens_per_s: Annotated[float, Key("tokens a second at least", **between(0, 1e6))]
    max_ttft_s: Annotated[float, Key("time to the first token at most", **between(0.001, 3600, "s"))]
    timeout_s: Annotated[int, Key("seconds for one answer", **between(1, 3600, "s"))]
    reach_s: Annotated[int, Key("seconds in which the port has to be open", **between(0, 600, "s"))]
    api_key_file: Annotated[str, Key("file with the endpoint's API key; empty: $LEVIATHAN_API_KEY, else none")]


@dataclass(frozen=True)
class Site:
    """The whole site; `leviathan.site.load.load` builds it."""

    registry: Registry
    image: Image
    push: Push
    cluster: Cluster
    workload: Workload
    engine: Engine
    resources: Resources
    nvme: Nvme
    model: Model
    start: Start
    rollout: Rollout
    smoke: Smoke

    def conflicts(self) -> list[str]:
        """What does not fit together, each as `section.key: why`; empty when all does."""
        found = []
        if len(self.engine.gpu_split) != self.resources.gpus:
            found.append(
                f"engine.gpu_split: {len(self.engine.gpu_split)} numbers for resources.gpus = {self.resources.gpus}"
            )
        if any(share < 0 for share in self.engine.gpu_split):
            found.append("engine.gpu_split: a share below zero")
        if self.engine.max_new_tokens >= (self.engine.cache_lens or CACHE_TOKENS):
            found.append("engine.max_new_tokens: leaves no room for a prompt in engine.cache_lens")
        for name in ("cpu", "memory"):
            request, limit = getattr(self.resources, f"{name}_request"), getattr(self.resources, f"{name}_limit")
            if parse_quantity(request) > parse_quantity(limit):
                found.append(f"resources.{name}_request: {request} is more than resources.{name}_limit = {limit}")
        mount = self.nvme.mount_point.rstrip("/")
        if not self.engine.model_path.startswith(f"{mount}/"):
            found.append(f"engine.model_path: {self.engine.model_path} is not below nvme.mount_point = {mount or '/'}")
        if self.model.size_gb > self.nvme.size_gb:
            found.append(f"model.size_gb: {self.model.size_gb:g} GB do not fit nvme.size_gb = {self.nvme.size_gb:g}")
        return found
