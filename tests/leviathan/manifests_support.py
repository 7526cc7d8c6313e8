"""Sites to render, and the one object of a kind."""

from typing import Any

import pytest

from leviathan.manifests.rendering import Rendered
from leviathan.site.choices import Variant
from leviathan.site.load import load
from leviathan.site.schema import Site

DIGEST = f"sha256:{'1' * 64}"
VARIANTS = pytest.mark.parametrize("variant", list(Variant), ids=lambda variant: variant.value)
OTHER = {
    "registry.host": "registry.example:5000",
    "image.repository": "lab/engine",
    "cluster.namespace": "lab",
    "cluster.node": "node-7.lab",
    "cluster.runtime_class": "nvidia-legacy",
    "workload.deployment": "big",
    "workload.service": "big-http",
    "workload.app": "big-app",
    "engine.model_path": "/disk/model",
    "engine.model_name": "v3",
    "engine.host": "::",
    "engine.port": "8080",
    "engine.node_port": "31000",
    "engine.cpu_threads": "64",
    "engine.gpu_split": "90000",
    "engine.cache_lens": "16384",
    "engine.max_new_tokens": "4096",
    "engine.queue": "8",
    "resources.gpus": "1",
    "resources.cpu_limit": "64",
    "resources.cpu_request": "32500m",
    "resources.memory_limit": "500Gi",
    "resources.memory_request": "500Gi",
    "resources.shm": "8Gi",
    "nvme.partition": "/dev/disk/by-id/nvme-disk-part1",
    "nvme.filesystem": "ext4",
    "nvme.size_gb": "2000",
    "nvme.mount_point": "/disk",
    "model.size_gb": "700",
    "start.disk_mb_per_s": "3000",
    "start.margin": "2",
}


def site(variant: Variant = Variant.PRIVILEGED, **more: str) -> Site:
    named = {"image.digest": DIGEST, "workload.variant": variant.value} | {
        k.replace("__", "."): v for k, v in more.items()
    }
    return load(named=named).site


def other(variant: Variant) -> Site:
    return load(named={**OTHER, "image.digest": DIGEST, "workload.variant": variant.value}).site


def only(done: Rendered, kind: str) -> dict[str, Any]:
    return next(each for each in done.objects if each["kind"] == kind)
