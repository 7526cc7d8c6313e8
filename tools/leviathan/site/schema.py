"""The site: one typed, frozen value with everything that differs from cluster to cluster.

The defaults are those of the runbook. They are only in `site.toml` next to this module.
"""

from dataclasses import dataclass

from leviathan.site.access_sections import AccessSettings, Manifests, Policy, Watch
from leviathan.site.choices import ServiceType, Storage
from leviathan.site.cluster_sections import Cluster, Engine, Resources, ServiceSettings, StorageSettings, Workload
from leviathan.site.image_sections import Image, Push, Registry
from leviathan.site.model_sections import Model, Rollout, Smoke, Start

#: The runbook's Deployment. Its objects keep the names and labels from the time when there was only one release.
RUNBOOK_DEPLOYMENT = "cortex-leviathan"


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
        """The pod's nodeSelector; empty: any node."""
        name = {"kubernetes.io/hostname": self.cluster.node} if self.cluster.node else {}
        return name | dict(label.split("=", 1) for label in self.cluster.node_labels)

    @property
    def where(self) -> str:
        """The node in words, for messages."""
        return self.cluster.node or (
            f"nodes with {','.join(self.cluster.node_labels)}" if self.node_selector else "any node"
        )

    @property
    def endpoint(self) -> str:
        """The URL that clients use; empty if the engine is reachable only through the API server."""
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
        """Whether our Job downloads the model, instead of an existing pod."""
        return bool((self.model.repository or self.model.urls) and not self.model.pod)

    @property
    def api_key_secret(self) -> str:
        """The name of the Secret with the API key."""
        return self.access.api_key_secret or f"{self.workload.deployment}-api-key"

    @property
    def release(self) -> str:
        """The release label of our objects; empty for the runbook's Deployment, whose objects have no such label."""
        return "" if self.workload.deployment == RUNBOOK_DEPLOYMENT else self.workload.deployment
