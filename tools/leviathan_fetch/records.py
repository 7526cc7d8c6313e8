"""Artifact records: what the flake's `lib.artifacts` says about each artifact, checked key by key."""

import json
import re
from dataclasses import dataclass
from typing import Any

from leviathan_fetch.errors import FetchError

KINDS = ("deb", "pypi", "seed")
REQUIRED = ("kind", "name", "sha256", "store", "package", "version", "filename")
OPTIONAL = ("size", "architecture", "suite", "member", "narHash")
NEEDED_BY_KIND = {"deb": ("suite", "architecture"), "seed": ("suite", "member", "narHash"), "pypi": ()}


@dataclass(frozen=True)
class Record:
    """One artifact.

    `name` is its file name in the store and `store` its whole store path; `sha256` is of the file (hex); `filename` the
    name that the index has (pypi) or the path below a mirror's address (deb, seed); `size` in bytes where the lock has
    it. A seed is the file `member` of a package in a folder, whose hash is in its store path.
    """

    kind: str
    name: str
    sha256: str
    store: str
    package: str
    version: str
    filename: str
    size: int | None
    architecture: str
    suite: str
    member: str


def parse(text: str, where: str) -> list[Record]:
    """The records in the JSON list `text` that came from `where`.

    Errors: FetchError with line and column, or with the record and the key that is missing, unknown or malformed.
    """
    remedy = "the list is made by: nix eval --json .#lib.artifacts"
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise FetchError(f"{where}:{error.lineno}:{error.colno} is not JSON: {error.msg}", remedy) from None
    if not isinstance(value, list):
        raise FetchError(f"{where}: expected a list of artifacts, got a {type(value).__name__}", remedy)
    records = []
    for index, item in enumerate(value):
        try:
            records.append(build(item))
        except ValueError as error:
            raise FetchError(f"{where}: artifact {index}: {error}", remedy) from None
    return records


def build(item: Any) -> Record:
    """One record from its JSON object. Errors: ValueError that names the key."""
    if not isinstance(item, dict):
        raise ValueError(f"expected an object, got a {type(item).__name__}")
    label = item.get("name", "without a name")
    unknown = sorted(item.keys() - {*REQUIRED, *OPTIONAL})
    if unknown:
        raise ValueError(f"{label}: unknown key {unknown[0]}")
    if item.get("kind") not in KINDS:
        raise ValueError(f"{label}: kind: expected one of {', '.join(KINDS)}, got {item.get('kind')!r}")
    for key in (*REQUIRED, *NEEDED_BY_KIND[item["kind"]]):
        if not isinstance(item.get(key), str) or not item[key]:
            raise ValueError(f"{label}: {key} is missing")
    if not re.fullmatch("[0-9a-f]{64}", item["sha256"]):
        raise ValueError(f"{label}: sha256: expected 64 lower-case hex digits, got {item['sha256']!r}")
    if "/" in item["name"] or not item["store"].endswith(f"-{item['name']}"):
        raise ValueError(f"{label}: store: expected a store path that ends in -{label}, got {item['store']!r}")
    size = item.get("size")
    if size is not None and (not isinstance(size, int) or size < 0):
        raise ValueError(f"{label}: size: expected a number of bytes, got {size!r}")
    optional = {key: item.get(key) or "" for key in ("architecture", "suite", "member")}
    required = {key: item[key] for key in REQUIRED}
    return Record(**required, **optional, size=size)
