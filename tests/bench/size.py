"""The image's compressed size, compared with the published sizes of images with the same base stack."""

from . import nix
from .table import Line, Row

LIMIT_MB = 3600
# RunPod's torch images with CUDA, compressed, as their maintainers measured them.
BUILT_BY_NIX_MB = 7791
BUILT_BY_DOCKER_MB = 11211


def measure() -> list[Line]:
    """The rows of this part."""
    ours = sum(nix.layers(nix.image()).values()) / 1e6
    return [
        Row("compressed image", ours, "MB", BUILT_BY_NIX_MB, "RunPod's by Nix", most=LIMIT_MB, most_ratio=1),
        Row("compressed image", ours, "MB", BUILT_BY_DOCKER_MB, "RunPod's by Docker", most_ratio=1),
    ]
