"""Kubernetes resource quantities: `360Gi`, `96`, `500m`.

Source of the format: the Kubernetes API reference, "Quantity" (decimal and binary suffixes; no exponent form here).
"""

import re
from fractions import Fraction

SUFFIXES: dict[str, int | Fraction] = {
    "": 1, "m": Fraction(1, 1000), "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50,
}  # fmt: skip
PATTERN = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")


def parse_quantity(text: str) -> Fraction:
    """The exact value of a quantity in its base unit (bytes, cores, devices).

    Errors: ValueError if `text` is not a quantity. Example: `parse_quantity("500m")` is 1/2.
    """
    match = PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f"expected a Kubernetes quantity such as 360Gi, 96 or 500m, got {text!r}")
    return Fraction(match[1]) * SUFFIXES[match[2] or ""]
