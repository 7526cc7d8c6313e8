"""Hints for wrong values: what the user probably meant, and which key is for it."""

import re
from typing import Any

WHOLE_DISK = re.compile(r"/dev/(nvme\d+n\d+|mmcblk\d+|sd[a-z]+|vd[a-z]+|xvd[a-z]+)")


def partition(value: Any) -> str:
    """For a whole disk, a folder, or a logical volume that is not named as in /dev/mapper."""
    if not isinstance(value, str) or not value:
        return ""
    if WHOLE_DISK.fullmatch(value):
        return f"{value} is a whole disk; set one of its partitions (lsblk {value} lists them)"
    if volume := re.fullmatch(r"/dev/([^/]+)/([^/]+)", value):
        group, name = (part.replace("-", "--") for part in volume.groups())
        return f"for a logical volume, set /dev/mapper/{group}-{name}"
    if value.startswith("/dev/"):
        return "lsblk -o NAME,PATH,FSTYPE,SIZE on the node lists its partitions"
    if value.startswith("/"):
        return f'for a folder on the node, set storage.kind = "host_path" and storage.path = "{value}"'
    return ""


def path(value: Any) -> str:
    """For a device instead of a folder."""
    if isinstance(value, str) and value.startswith("/dev/"):
        return 'for a device, set storage.kind = "partition" and storage.partition'
    return "write the absolute path of the folder"


def host(value: Any) -> str:
    """For a URL, a path after the host, as in a Harbor project, or a port that is none."""
    if not isinstance(value, str):
        return ""
    if "://" in value:
        return "remove the scheme; registry.plain_http chooses between HTTP and HTTPS"
    name, _, project = value.partition("/")
    if project:
        return f'the path belongs in image.repository: registry.host = "{name}", image.repository = "{project}/..."'
    if re.fullmatch(r"(\[[^]]*\]|[^:]*):[^:]*", value):
        return "a port is an integer from 1 to 65535"
    return ""


def repository(value: Any) -> str:
    """For uppercase letters, a tag, or a registry in front."""
    if not isinstance(value, str):
        return ""
    if value != value.lower():
        return f"a repository name must be lowercase: {value.lower()}"
    if ":" in value or "@" in value:
        return "the tag belongs in image.tag, a digest in image.digest, the registry in registry.host"
    return ""


def address(value: Any) -> str:
    """For a port after the address, or a URL."""
    if not isinstance(value, str):
        return ""
    if "://" in value:
        return "a URL belongs in service.url"
    if not value:
        return 'for an endpoint without a NodePort, set service.type = "ClusterIP", or service.url'
    return "the port belongs in engine.node_port" if ":" in value else ""


def node_port(_value: Any) -> str:
    """For a port outside the NodePort range."""
    return 'for other ports, set service.type = "LoadBalancer" and engine.port, or use an Ingress (access.ingress_host)'


def gpus(value: Any) -> str:
    """For zero."""
    if value == 0:
        return "the engine needs at least one GPU; for a shared GPU or a MIG slice, set resources.gpu_resource"
    return ""
