"""Computes how much of a node is free, in the same way as the scheduler."""

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from leviathan.manifests.files import Object
from leviathan.site.quantity import parse_quantity

#: Quantities as the API server may write them, beyond what the site file allows. Source: API reference, "Quantity".
OTHER = re.compile(r"([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d+))?")
SCALES = {"n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "E": Fraction(10**18), "Ei": Fraction(2**60)}


def amount(text: str | int | float) -> Fraction:
    """A quantity of the API in its base unit. Errors: ValueError if it is not a quantity."""
    match = OTHER.fullmatch(str(text))
    if match is None:
        raise ValueError(f"expected a Kubernetes quantity such as 360Gi, 96 or 500m, got {text!r}")
    number, suffix, exponent = match.groups()
    scale = SCALES[suffix] if suffix in SCALES else parse_quantity(f"1{suffix or ''}")
    return Fraction(f"{number}e{exponent or 0}") * scale


def requested(pod: Object, resource: str) -> Fraction:
    """The amount that a pod requests: the larger of all containers together and any init container, plus overhead.

    An init container that always restarts (a sidecar) runs together with the containers and with the later init
    containers. A pod's own `resources` take precedence. Source: Kubernetes, "Resource sharing within containers".
    """
    spec = pod["spec"]
    overhead = _of(spec.get("overhead"), resource)
    whole = (spec.get("resources") or {}).get("requests") or {}
    if resource in whole:
        return amount(whole[resource]) + overhead
    sidecars = peak = Fraction(0)
    for container in spec.get("initContainers") or []:
        wants = _container(container, resource)
        if container.get("restartPolicy") == "Always":
            sidecars += wants
            peak = max(peak, sidecars)
        else:
            peak = max(peak, sidecars + wants)
    together = sum((_container(container, resource) for container in spec["containers"]), sidecars)
    return max(together, peak) + overhead


def allocatable(node: Object, resource: str) -> Fraction | None:
    """The node's allocatable amount of a resource; None if the node does not offer the resource."""
    offered = node.get("status", {}).get("allocatable") or {}
    return amount(offered[resource]) if resource in offered else None


def _container(container: Mapping[str, Any], resource: str) -> Fraction:
    return _of((container.get("resources") or {}).get("requests"), resource)


def _of(amounts: Mapping[str, Any] | None, resource: str) -> Fraction:
    return amount(amounts[resource]) if amounts and resource in amounts else Fraction(0)


def shown(value: Fraction, resource: str) -> str:
    """An amount for messages: memory in GiB, everything else as a number."""
    if resource == "memory":
        return f"{float(value) / 2**30:.1f} GiB"
    return f"{float(value):g}"
