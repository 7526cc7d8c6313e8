"""Lists the known chat templates by their hashes."""

import hashlib

# SHA-256 of the templates of DeepSeek's own releases, as UTF-8.
KNOWN = {
    "8aeba567270fa9a8d5372caf4b04affea947c4421d96adc01e3ff94021b0ae8e": "DeepSeek-V2",
    "54d400beedcd17f464e10063e0577f6f798fa896266a912d8a366f8a2fcc0bca": "DeepSeek-V2.5",
    "3b8267e54b67df6500f231ffa969955cc9d26b3444a291ced4eb96ca7d3ca1ea": "DeepSeek-V3",
    "45690185067ea25c073bff2d3e425a45ee2564d2bbf6cdf7d885e139d460b8e0": "DeepSeek-V3.1",
    "563b1ce7d61d50a9b4c7439a912a1116f095b712df5b5e4d3e1116049874eb64": "DeepSeek-R1",
}


def digest(source: str) -> str:
    """Returns the SHA-256 of a template's text in hex."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()


def describe_template(source: str) -> str:
    """Describes a template for the log: its hash and its origin."""
    name = KNOWN.get(digest(source))
    whose = f"the one of {name}" if name else "unknown, and therefore rendered in a process of its own"
    return f"the chat template has SHA-256 {digest(source)}: {whose}"
