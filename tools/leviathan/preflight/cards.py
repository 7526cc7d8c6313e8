"""Checks whether the node's GPUs and driver can run the image's kernels, by the node labels of NVIDIA's plugin.

Sources: CUDA C++ Programming Guide, "Binary Compatibility": code of X.Y runs on X.Z with Z >= Y, code with a letter
(9.0a) on X.Y alone. CUDA 12.8 release notes, table 3: Linux driver 570.26 or newer. Labels: GPU Feature Discovery.
"""

import re
from collections.abc import Iterator, Sequence

from leviathan.errors import LayoutError
from leviathan.preflight.check_result import CheckResult, FactUnavailable, ok, problem, warning
from leviathan.preflight.facts import Facts
from leviathan.preflight.image import labels_of, layout_of

#: The image's label with the architectures of its kernels.
ARCHS = "leviathan.cuda.archs"
MAJOR, MINOR = "nvidia.com/gpu.compute.major", "nvidia.com/gpu.compute.minor"
PRODUCT = "nvidia.com/gpu.product"
DRIVERS = ("nvidia.com/cuda.driver-version.major", "nvidia.com/cuda.driver.major")
#: The first driver of CUDA 12.8.
DRIVER = 570


def cards(facts: Facts) -> Iterator[CheckResult]:
    """Checks that the image has kernels for the node's GPUs, and that the driver is new enough."""
    labels = facts.node()["metadata"].get("labels") or {}
    by_hand = "nvidia-smi --query-gpu=name,compute_cap,driver_version --format=csv on the node"
    driver = next((int(labels[key]) for key in DRIVERS if str(labels.get(key, "")).isdigit()), 0)
    if driver and driver < DRIVER:
        yield problem(
            f"{facts.node_name()} has NVIDIA driver {driver}, but the image's CUDA 12.8 needs {DRIVER} or newer",
            "install a newer driver; on Talos: the system extension nonfree-kmod-nvidia-production of a newer Talos",
        )
    if not str(labels.get(MAJOR, "")).isdigit():
        yield warning(f"unknown: {facts.node_name()} has no label {MAJOR}", by_hand)
        return
    card = (int(labels[MAJOR]), int(str(labels.get(MINOR) or 0)))
    name = labels.get(PRODUCT, "GPU")
    try:
        archs = labels_of(layout_of(facts)).get(ARCHS, "").split()
    except LayoutError as error:
        raise FactUnavailable(f"the image cannot be read ({error.what})") from None
    if not archs:
        yield warning(f"unknown: the image has no label {ARCHS}", by_hand)
        return
    chosen = runs_on(archs, card)
    said = f"{name} of {facts.node_name()}, compute capability {card[0]}.{card[1]}"
    if chosen:
        yield ok(f"{said}: the image's kernels for {chosen} run on it")
    else:
        yield problem(
            f"{said}: the image has kernels only for {', '.join(archs)}, and none of them runs on it",
            "make image-consumer (nix build .#leviathan-image-consumer) has 8.6, 8.9 and 12.0; for another one, add it "
            "to cudaArchs in nix/settings.nix",
        )


def runs_on(archs: Sequence[str], card: tuple[int, int]) -> str:
    """The best architecture in `archs` whose code runs on a GPU of compute capability `card`; empty if none does."""
    fitting: list[tuple[int, str]] = []
    for text in archs:
        match = re.fullmatch(r"(\d+)\.(\d)([af]?)", text)
        if match is None or int(match[1]) != card[0]:
            continue
        minor = int(match[2])
        if minor == card[1] or (minor < card[1] and not match[3]):
            fitting.append((minor, text))
    return max(fitting)[1] if fitting else ""
