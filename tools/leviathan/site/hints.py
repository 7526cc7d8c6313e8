"""For a wrong value of a key: what its author probably wants, and which key is for it."""

import re
from typing import Any

WHOLE_DISK = re.compile(r"/dev/(nvme\d+n\d+|mmcblk\d+|sd[a-z]+|vd[a-z]+|xvd[a-z]+)")


def partition(value: Any) -> str:
    """A whole disk, a folder, or a logical volume by the name that device-mapper does not use."""
    if not isinstance(value, str) or not value:
        return ""
    if WHOLE_DISK.fullmatch(value):
        return f"{value} is the whole disk: name its partition (lsblk {value} lists them)"
    if volume := re.fullmatch(r"/dev/([^/]+)/([^/]+)", value):
        group, name = (part.replace("-", "--") for part in volume.groups())
        return f"a logical volume goes by /dev/mapper/{group}-{name}"
    if value.startswith("/dev/"):
        return "lsblk -o NAME,PATH,FSTYPE,SIZE on the node lists what there is"
    if value.startswith("/"):
        return f'for a folder of the node set storage.kind = "host_path" and storage.path = "{value}"'
    return ""


def path(value: Any) -> str:
    """A device in the place of a folder."""
    if isinstance(value, str) and value.startswith("/dev/"):
        return 'for a device set storage.kind = "partition" and storage.partition'
    return "write the whole path of the folder"


def host(value: Any) -> str:
    """A URL, or a path after the host, as a Harbor project has it."""
    if not isinstance(value, str):
        return ""
    if "://" in value:
        return "leave the scheme out; registry.plain_http chooses between HTTP and HTTPS"
    name, _, project = value.partition("/")
    if project:
        return f'the path belongs into image.repository: registry.host = "{name}", image.repository = "{project}/..."'
    return ""


def repository(value: Any) -> str:
    """Capitals, a tag, or the registry in front."""
    if not isinstance(value, str):
        return ""
    if value != value.lower():
        return f"a repository has no capitals: {value.lower()}"
    if ":" in value or "@" in value:
        return "the tag belongs into image.tag, a digest into image.digest, the registry into registry.host"
    return ""


def address(value: Any) -> str:
    """A port after the address, or a URL."""
    if not isinstance(value, str):
        return ""
    if "://" in value:
        return "a whole URL belongs into service.url"
    if not value:
        return 'for an endpoint without a NodePort set service.type = "ClusterIP", or service.url'
    return "the port belongs into engine.node_port" if ":" in value else ""


def node_port(_value: Any) -> str:
    """A port outside of Kubernetes' range."""
    return 'other ports: service.type = "LoadBalancer" with engine.port, or an Ingress (access.ingress_host)'


def gpus(value: Any) -> str:
    """None at all."""
    if value == 0:
        return "the engine needs at least one card; a shared one or a MIG slice goes by resources.gpu_resource"
    return ""
