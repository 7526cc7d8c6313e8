"""Enumerations: keys of the site file that accept one of a few words."""

from enum import Enum


class Variant(Enum):
    """Who mounts the partition: the privileged pod itself, or the kubelet."""

    PRIVILEGED = "privileged"
    UNPRIVILEGED = "unprivileged"


class Storage(Enum):
    """What the model is stored on."""

    PARTITION = "partition"
    PVC = "pvc"
    EXISTING_CLAIM = "existing_claim"
    HOST_PATH = "host_path"


class Kept(Enum):
    """Where conversations evicted from GPU memory are stored, in addition to main memory."""

    MEMORY = "memory"
    POD = "pod"
    CLAIM = "claim"


class ServiceType(Enum):
    """Type of the Service. Source: Kubernetes, "Service", "Publishing Services"."""

    NODE_PORT = "NodePort"
    CLUSTER_IP = "ClusterIP"
    LOAD_BALANCER = "LoadBalancer"


class ApiKey(Enum):
    """Whether clients need an API key."""

    OFF = "off"
    SECRET = "secret"
