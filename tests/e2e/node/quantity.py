"""Kubernetes quantities: `360Gi`, `96`, `500m`. Source: apimachinery's resource.Quantity."""

from decimal import Decimal
from typing import Any

_SUFFIXES = {"": Decimal(1), "m": Decimal("0.001"), "k": Decimal(1000)} | {
    letter + binary: Decimal(1024 if binary else 1000) ** power
    for power, letter in enumerate("KMGTPE", 1)
    for binary in ("i", "")
    if letter != "K" or binary
}


def amount(text: str | int) -> Decimal:
    """The number behind a quantity. Errors: ValueError."""
    words = str(text)
    digits = words.rstrip("kmKMGTPEi")
    try:
        return Decimal(digits) * _SUFFIXES[words[len(digits) :]]
    except (KeyError, ArithmeticError) as err:
        raise ValueError(f"{text!r} is not a quantity") from err


def limit(container: dict[str, Any], name: str) -> Decimal | None:
    """A container's limit of a resource, None for none."""
    found = container.get("resources", {}).get("limits", {}).get(name)
    return None if found is None else amount(found)


def requested(pod: dict[str, Any], name: str) -> Decimal:
    """What a pod's containers request together; init containers run alone, so the greatest of them counts."""

    def of(container: dict[str, Any]) -> Decimal:
        return amount(container.get("resources", {}).get("requests", {}).get(name, 0))

    together = sum((of(c) for c in pod["spec"]["containers"]), Decimal(0))
    return max([together, *(of(c) for c in pod["spec"].get("initContainers", []))])
