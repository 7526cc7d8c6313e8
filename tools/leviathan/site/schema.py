"""The site: one typed, frozen value with everything that differs from cluster to cluster.

The defaults are the runbook's and stand in `site.toml` beside this module, nowhere else.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from leviathan.site import hints
from leviathan.site.keys import Key, between, each_like, like, quantity, zero_or
from leviathan.site.quantity import parse_quantity

NAME = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
ADDRESS = r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?)"
HOST = rf"{ADDRESS}(:[0-9]{{1,5}})?"
REPOSITORY = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
DIGEST = r"sha256:[0-9a-f]{64}"
PARTITION = (
    r"/dev/((nvme[0-9]+n|mmcblk|loop)[0-9]+p[0-9]+|(sd|vd|xvd)[a-z]+[0-9]+"
    r"|disk/by-(id|path|partuuid|partlabel|uuid|label)/\S+|mapper/[^/\s]+|dm-[0-9]+|md[0-9]+(p[0-9]+)?|md/[^/\s]+)"
)
LABEL = r"([a-z0-9]([-.a-z0-9]*[a-z0-9])?/)?[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?=[-._A-Za-z0-9]*"
RESOURCE = r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?/[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?"
URL = r"https?://[^\s/?#@]+(/[^\s?#]*)?"
REPO = r"[A-Za-z0-9][-.\w]*/[A-Za-z0-9][-.\w]*"
DNS = r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?"
ABSOLUTE = r"/|(/[^/\s]+)+"
#: The Deployment of the runbook: its objects keep the names and labels that they had when there was only one release.
RUNBOOK_DEPLOYMENT = "cortex-leviathan"


class Variant(Enum):
    """How the partition gets into the pod."""

    PRIVILEGED = "privileged"
    UNPRIVILEGED = "unprivileged"


class Storage(Enum):
    """What the model is stored on."""

    PARTITION = "partition"
    PVC = "pvc"
    EXISTING_CLAIM = "existing_claim"
    HOST_PATH = "host_path"


class Kept(Enum):
    """Where conversations that left the GPUs are kept, besides main memory."""

    MEMORY = "memory"
    POD = "pod"
    CLAIM = "claim"


class ServiceType(Enum):
    """How the Service is reached. Source: Kubernetes, "Service", "Publishing Services"."""

    NODE_PORT = "NodePort"
    CLUSTER_IP = "ClusterIP"
    LOAD_BALANCER = "LoadBalancer"


class ApiKey(Enum):
    """Whether clients need a key."""

    OFF = "off"
    SECRET = "secret"


@dataclass(frozen=True)
class Registry:
    """Where the image goes."""

    host: Annotated[str, Key("registry, with its port", **like(HOST, "192.168.3.10:5000"), hint=hints.host)]
    plain_http: Annotated[bool, Key("whether the registry speaks HTTP instead of HTTPS")]
    ca_file: Annotated[str, Key("PEM file of the authority that signed its certificate; empty: the system's")]


@dataclass(frozen=True)
class Image:
    """Which image."""

    repository: Annotated[
        str, Key("repository on the registry", **like(REPOSITORY, "omni/engine"), hint=hints.repository)
    ]
    tag: Annotated[str, Key("tag that is set last", **like(TAG, "leviathan-standard"))]
    layout: Annotated[str, Key("folder with the OCI image layout", **like(r".+", "result"))]
    digest: Annotated[str, Key("digest that render pins; empty: the layout's", **like(f"({DIGEST})?", "sha256:64 hex"))]
    pull_secret: Annotated[
        str, Key("Secret that the kubelet pulls with; empty: none", **like(f"({NAME})?", "registry-login"))
    ]
    make_pull_secret: Annotated[bool, Key("whether apply makes that Secret from your registry login, if it is missing")]


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
    make_namespace: Annotated[bool, Key("whether the Namespace is one of our objects; false: it has to be there")]
    node: Annotated[
        str,
        Key(
            "node with the GPUs and the model; empty: any that node_labels fit",
            **like(r"([a-z0-9]([-.a-z0-9]*[a-z0-9])?)?", "talos-u8k-rze"),
        ),
    ]
    node_labels: Annotated[
        tuple[str, ...],
        Key("labels that the node must have", **each_like(LABEL, '["nvidia.com/gpu.product=NVIDIA-GeForce-RTX-4090"]')),
    ]
    address: Annotated[
        str, Key("address where the NodePort answers", **like(ADDRESS, "192.168.3.2"), hint=hints.address)
    ]
    runtime_class: Annotated[
        str, Key("RuntimeClass of the pod; empty: the cluster's default runtime", **like(f"({NAME})?", "nvidia"))
    ]
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
    node_port: Annotated[
        int, Key("port on the node; 0: Kubernetes chooses", **zero_or(30000, 32767), hint=hints.node_port)
    ]
    cpu_threads: Annotated[int, Key("threads for the experts on the CPU", **between(1, 1024))]
    gpu_split: Annotated[tuple[int, ...], Key("MB for each GPU, one number a GPU")]
    cache_lens: Annotated[int, Key("tokens of the KV cache; 0: as many as fit", **zero_or(64, 1 << 24))]
    max_new_tokens: Annotated[int, Key("tokens of an answer at most; 0: what its prompt leaves", **zero_or(1, 1 << 24))]
    queue: Annotated[int, Key("requests that may wait; 0: the engine's 64", **zero_or(1, 100_000))]
    kept: Annotated[Kept, Key("where conversations that left the GPUs are kept, besides main memory")]
    kept_claim: Annotated[str, Key("kept claim: its name, a writable claim", **like(f"({NAME})?", "deepseek-talks"))]
    kept_gb: Annotated[float, Key("what they may take there in GB (10^9 bytes)", **between(1, 1e6, "GB"))]
    chat_template: Annotated[
        str, Key("Jinja file in place of the model's chat template, here or below storage.mount_point; empty: none")
    ]


@dataclass(frozen=True)
class Resources:
    """Kubernetes resources of the container."""

    gpus: Annotated[int, Key("how many of resources.gpu_resource", **between(1, 16), hint=hints.gpus)]
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
            "address that clients use; empty: http://cluster.address and the port",
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
            "partition or device-mapper or md device, not the whole disk",
            **like(PARTITION, "/dev/nvme0n1p1, /dev/disk/by-partuuid/... or /dev/mapper/vg0-models"),
            hint=hints.partition,
        ),
    ]
    filesystem: Annotated[str, Key("its file system, any that the node's kernel mounts", **like(r"[a-z0-9]+", "xfs"))]
    size_gb: Annotated[float, Key("size of the volume in GB (10^9 bytes)", **between(1, 1e6, "GB"))]
    mount_point: Annotated[str, Key("where the pod has it", **like(ABSOLUTE, "/models"))]
    volume: Annotated[
        str,
        Key("name of the volume and its claim; empty: after the Deployment", **like(f"({NAME})?", "leviathan-models")),
    ]
    storage_class: Annotated[
        str, Key("kind pvc: StorageClass; empty: the cluster's default", **like(f"({NAME})?", "local-path"))
    ]
    claim: Annotated[
        str, Key("kind existing_claim: the claim that holds the model", **like(f"({NAME})?", "deepseek-models"))
    ]
    path: Annotated[
        str, Key("kind host_path: folder of the node", **like(f"({ABSOLUTE})?", "/srv/models"), hint=hints.path)
    ]


@dataclass(frozen=True)
class Model:
    """Where the model comes from."""

    size_gb: Annotated[float, Key("bytes that one start reads, in GB (10^9 bytes)", **between(0.001, 1e5, "GB"))]
    repository: Annotated[
        str,
        Key("repository of a Hugging Face hub to download from", **like(f"({REPO})?", "unsloth/DeepSeek-R1-0528-GGUF")),
    ]
    revision: Annotated[str, Key("its branch, tag or commit", **like(r"[^\s]+", "main"))]
    include: Annotated[
        tuple[str, ...], Key("patterns of the files to download; none: *.gguf", **each_like(r"\S+", '["UD-Q2_K_XL/*"]'))
    ]
    urls: Annotated[
        tuple[str, ...],
        Key(
            "addresses to download from, in place of a repository",
            **each_like(r"https?://\S+", '["https://files.example/model.gguf#sha256=64 hex"]'),
        ),
    ]
    hub: Annotated[str, Key("address of the hub", **like(URL, "https://huggingface.co"))]
    token_secret: Annotated[
        str,
        Key("Secret with HF_TOKEN, HTTPS_PROXY, NO_PROXY for the download", **like(f"({NAME})?", "hub-token")),
    ]
    pod: Annotated[
        str,
        Key(
            "pod that downloads it; empty: the model is there",
            **like(r"([a-z0-9]([-.a-z0-9]*[a-z0-9])?)?", "sysadmin-logistics"),
        ),
    ]
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

    prompt: Annotated[str, Key("text to continue", **like(r"[\s\S]*\S[\s\S]*", "Count from one to ten:"))]
    max_tokens: Annotated[int, Key("tokens of an answer at most", **between(2, 4096))]
    min_tokens_per_s: Annotated[float, Key("tokens a second at least", **between(0, 1e6))]
    max_ttft_s: Annotated[float, Key("time to the first token at most", **between(0.001, 3600, "s"))]
    timeout_s: Annotated[int, Key("seconds for one answer", **between(1, 3600, "s"))]
    reach_s: Annotated[int, Key("seconds in which the port has to be open", **between(0, 600, "s"))]
    api_key_file: Annotated[str, Key("file with the endpoint's API key; empty: $LEVIATHAN_API_KEY, else none")]


@dataclass(frozen=True)
class AccessSettings:
    """Who may ask the engine, and through which door."""

    api_key: Annotated[ApiKey, Key("off: everybody who reaches the port; secret: whoever has the key of the Secret")]
    api_key_secret: Annotated[
        str, Key("name of that Secret; empty: DEPLOYMENT-api-key", **like(f"({NAME})?", "deepseek-api-key"))
    ]
    tls_secret: Annotated[
        str, Key("Secret of type kubernetes.io/tls for HTTPS by the engine itself", **like(f"({NAME})?", "engine-tls"))
    ]
    ingress_host: Annotated[
        str, Key("host name of an Ingress; empty: none", **like(f"({DNS})?", "leviathan.example.org"))
    ]
    ingress_class: Annotated[str, Key("its class; empty: the cluster's default", **like(f"({DNS})?", "nginx"))]
    ingress_tls_secret: Annotated[
        str, Key("Secret with its certificate; cert-manager makes it", **like(f"({NAME})?", "leviathan-tls"))
    ]
    ingress_annotations: Annotated[
        tuple[str, ...],
        Key("annotations of the Ingress", **each_like(r"[^=\s]+=.*", '["cert-manager.io/cluster-issuer=letsencrypt"]')),
    ]
    gateway: Annotated[
        str,
        Key("NAMESPACE/NAME of a Gateway for an HTTPRoute; empty: none", **like(f"({NAME}/{DNS})?", "gateways/public")),
    ]
    gateway_host: Annotated[str, Key("host name of that route; empty: any", **like(f"({DNS})?", "leviathan.example"))]
    network_policy: Annotated[bool, Key("whether a NetworkPolicy admits only access.allow_from, and lets nothing out")]
    allow_from: Annotated[
        tuple[str, ...],
        Key(
            "who may reach the port then",
            **each_like(r"namespace:[a-z0-9-]+|pods:[^=\s]+=\S*|cidr:[0-9a-fA-F.:]+/[0-9]+", '["namespace:ingress"]'),
        ),
    ]


@dataclass(frozen=True)
class Watch:
    """What watches the engine."""

    pod_monitor: Annotated[bool, Key("whether the Prometheus operator scrapes the pod (PodMonitor)")]
    scrape_annotations: Annotated[bool, Key("whether the pod has the annotations prometheus.io/scrape")]
    alerts: Annotated[bool, Key("whether the operator gets alert rules (PrometheusRule)")]
    dashboard: Annotated[bool, Key("whether Grafana's sidecar gets a dashboard (ConfigMap)")]
    labels: Annotated[
        tuple[str, ...],
        Key("labels by which they select these", **each_like(LABEL, '["release=kube-prometheus-stack"]')),
    ]


@dataclass(frozen=True)
class Manifests:
    """Objects of the site's own."""

    extra: Annotated[str, Key("folder with .yaml files that are applied with ours; empty: none")]


@dataclass(frozen=True)
class Policy:
    """What the site's manifests may do that ours do not."""

    exceptions: Annotated[
        tuple[str, ...],
        Key("rules that may be broken, each with its reason", **each_like(r"[a-z-]+: ?\S.*", '["RULE: why"]')),
    ]


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
    service: ServiceSettings
    storage: StorageSettings
    access: AccessSettings
    model: Model
    start: Start
    rollout: Rollout
    smoke: Smoke
    watch: Watch
    manifests: Manifests
    policy: Policy

    @property
    def volume(self) -> str:
        """The name of the model's volume and of its claim."""
        runbook = self.workload.deployment == RUNBOOK_DEPLOYMENT
        return self.storage.volume or ("leviathan-models" if runbook else f"{self.workload.deployment}-models")

    @property
    def claim(self) -> str:
        """The name of the claim that the pod mounts."""
        return self.storage.claim if self.storage.kind is Storage.EXISTING_CLAIM else self.volume

    @property
    def node_selector(self) -> dict[str, str]:
        """The labels by which the pod finds its node; empty: any node."""
        name = {"kubernetes.io/hostname": self.cluster.node} if self.cluster.node else {}
        return name | dict(label.split("=", 1) for label in self.cluster.node_labels)

    @property
    def where(self) -> str:
        """The node as sentences name it."""
        return self.cluster.node or (
            f"nodes with {','.join(self.cluster.node_labels)}" if self.node_selector else "any node"
        )

    @property
    def endpoint(self) -> str:
        """The URL where clients reach the engine; empty where only the API server leads to it."""
        if self.service.url:
            return self.service.url.rstrip("/")
        scheme = "https" if self.access.tls_secret else "http"
        if self.service.type is ServiceType.NODE_PORT and self.engine.node_port:
            return f"{scheme}://{self.cluster.address}:{self.engine.node_port}"
        if self.service.type is ServiceType.LOAD_BALANCER:
            return f"{scheme}://{self.cluster.address}:{self.engine.port}"
        return ""

    @property
    def downloads(self) -> bool:
        """Whether the model is downloaded by a Job of ours, and not by a pod of others."""
        return bool((self.model.repository or self.model.urls) and not self.model.pod)

    @property
    def api_key_secret(self) -> str:
        """The name of the Secret with the API key."""
        return self.access.api_key_secret or f"{self.workload.deployment}-api-key"

    @property
    def release(self) -> str:
        """The label of this release's objects; empty for the runbook's, whose objects carry none."""
        return "" if self.workload.deployment == RUNBOOK_DEPLOYMENT else self.workload.deployment

    def conflicts(self) -> list[str]:
        """What does not fit together, each as `section.key: why`; empty when all does."""
        found = []
        if len(self.engine.gpu_split) != self.resources.gpus:
            found.append(
                f"engine.gpu_split: {len(self.engine.gpu_split)} numbers for resources.gpus = {self.resources.gpus}"
            )
        if any(share < 0 for share in self.engine.gpu_split):
            found.append("engine.gpu_split: a share below zero")
        if 0 < self.engine.cache_lens <= self.engine.max_new_tokens:
            found.append("engine.max_new_tokens: leaves no room for a prompt in engine.cache_lens")
        for name in ("cpu", "memory"):
            request, limit = getattr(self.resources, f"{name}_request"), getattr(self.resources, f"{name}_limit")
            if parse_quantity(request) > parse_quantity(limit):
                found.append(f"resources.{name}_request: {request} is more than resources.{name}_limit = {limit}")
        mount = self.storage.mount_point.rstrip("/")
        if not self.engine.model_path.startswith(f"{mount}/"):
            found.append(
                f"engine.model_path: {self.engine.model_path} is not below storage.mount_point = {mount or '/'}"
            )
        if self.storage.kind is not Storage.EXISTING_CLAIM and self.model.size_gb > self.storage.size_gb:
            size = f"{self.storage.size_gb:g}"
            found.append(f"model.size_gb: {self.model.size_gb:g} GB do not fit storage.size_gb = {size}")
        if self.image.make_pull_secret and not self.image.pull_secret:
            found.append("image.make_pull_secret: image.pull_secret names no Secret to make")
        if self.model.repository and self.model.urls:
            found.append("model.urls: model.repository is named too; a download is from one of them")
        if self.access.allow_from and not self.access.network_policy:
            found.append("access.allow_from: nothing is kept out without access.network_policy = true")
        if self.access.ingress_tls_secret and not self.access.ingress_host:
            found.append("access.ingress_tls_secret: there is no Ingress without access.ingress_host")
        return found + self._storage_conflicts()

    def _storage_conflicts(self) -> list[str]:
        found, kind = [], self.storage.kind
        if kind is not Storage.PARTITION and self.workload.variant is Variant.PRIVILEGED:
            found.append(
                f"workload.variant: privileged mounts a partition itself, storage.kind = {kind.value} "
                "needs no privilege: leave the key out, or set unprivileged"
            )
        if kind is Storage.EXISTING_CLAIM and not self.storage.claim:
            found.append("storage.claim: name the claim that holds the model")
        if self.engine.kept is Kept.CLAIM and self.engine.kept_claim in ("", self.claim):
            found.append("engine.kept_claim: name a claim of its own for conversations: the model's is read-only")
        if kind is Storage.HOST_PATH and not self.storage.path:
            found.append("storage.path: name the node's folder that has the model")
        bound = kind is Storage.HOST_PATH or (
            kind is Storage.PARTITION and self.workload.variant is Variant.UNPRIVILEGED
        )
        if bound and not self.node_selector:
            found.append(
                f"cluster.node: a volume of storage.kind = {kind.value} is on one node: "
                "name it, or set cluster.node_labels"
            )
        return found
