"""The site of each recorded scene of preflight: the recorder asks for it, the tests replay it."""

from leviathan.site.load import load
from leviathan.site.schema import Site

DIGEST = f"sha256:{'1' * 64}"
#: scene → what differs from the defaults.
DIFFERENCES: dict[str, dict[str, str]] = {
    "fine": {"cluster.namespace": "lab-fine"},
    "unprivileged": {"cluster.namespace": "lab-unprivileged", "workload.variant": "unprivileged"},
    "taken": {"cluster.namespace": "lab-taken", "resources.cpu_request": "95"},
    "ours": {"cluster.namespace": "lab-ours"},
    "bad-node": {
        "cluster.namespace": "lab-bad",
        "cluster.node": "lab-bad",
        "cluster.runtime_class": "lab-legacy",
        "resources.memory_limit": "400Gi",
    },
    "no-node": {"cluster.namespace": "lab-fine", "cluster.node": "talos-u8k-rzf", "cluster.runtime_class": "nvidea"},
    "moved": {
        "cluster.namespace": "lab-moved",
        "workload.variant": "unprivileged",
        "storage.partition": "/dev/nvme1n1p1",
        "storage.size_gb": "4000",
    },
    "ending": {"cluster.namespace": "lab-ending"},
    "restricted": {"cluster.namespace": "lab-fine", "model.manifest": "model.json"},
    "wrong": {"cluster.namespace": "lab-fine"},
}


def scene_site(scene: str, **named: str) -> Site:
    """The site of a scene; `named` is section__key → text."""
    more = {key.replace("__", "."): value for key, value in named.items()}
    return load(named={"image.digest": DIGEST, **DIFFERENCES[scene], **more}).site
