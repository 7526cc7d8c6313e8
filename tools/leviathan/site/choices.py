"""Keys of the site file whose values are one of a few words."""

from enum import Enum


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
