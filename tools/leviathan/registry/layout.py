"""Reads an OCI image layout: a folder with `oci-layout`, `index.json` and `blobs/sha256/…` (blobs may be symlinks).

Source of the format: OCI image specification 1.1, "Image Layout", "Image Index" and "Image Manifest".
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leviathan.errors import LayoutError

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
REF_NAME = "org.opencontainers.image.ref.name"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
#: Maximum bytes of a manifest. Registries refuse larger ones (the distribution specification recommends 4 MiB).
MANIFEST_LIMIT = 4 << 20
BUILD = "build the image: nix build .#leviathan-image"


@dataclass(frozen=True)
class Blob:
    """One blob: its digest, its size in bytes and its file."""

    digest: str
    size: int
    path: Path


@dataclass(frozen=True)
class Manifest:
    """A manifest or index: its exact bytes in the layout, and its media type."""

    digest: str
    media_type: str
    body: bytes


@dataclass(frozen=True)
class Image:
    """The content of an image: each blob once, and the manifests in order (children first, the one to tag last)."""

    blobs: tuple[Blob, ...]
    manifests: tuple[Manifest, ...]

    @property
    def top(self) -> Manifest:
        """The manifest (or index) that the tag points at."""
        return self.manifests[-1]

    @property
    def size(self) -> int:
        """Bytes of all blobs."""
        return sum(blob.size for blob in self.blobs)


def load_image(layout: Path, tag: str) -> Image:
    """The image in `layout`: the only one, or the one whose name annotation is `tag`.

    Errors: LayoutError if the folder is not a layout, a blob is missing or its size differs from its descriptor, a
    manifest does not match its digest, or there are several images and none is named `tag`.
    """
    return _Reader(layout).image(tag)


class _Reader:
    def __init__(self, layout: Path) -> None:
        self.layout = layout
        self.blobs: dict[str, Blob] = {}
        self.manifests: dict[str, Manifest] = {}

    def image(self, tag: str) -> Image:
        marker = _json(self.layout / "oci-layout", self._read(self.layout / "oci-layout"))
        if not str(marker.get("imageLayoutVersion", "")).startswith("1."):
            raise LayoutError("unknown OCI layout version", where=str(self.layout), why=f"{marker}", remedy=BUILD)
        index = _json(self.layout / "index.json", self._read(self.layout / "index.json"))
        entries = _descriptors(index, "manifests", self.layout / "index.json")
        # The name is a tag, or a whole reference as some builders write it.
        named = [entry for entry in entries if _ref_name(entry).rsplit(":", 1)[-1] == tag]
        chosen = named or entries
        if len(chosen) != 1:
            names = ", ".join(_ref_name(entry) or "unnamed" for entry in entries)
            raise LayoutError(
                f"cannot find exactly one image for the tag {tag}",
                where=str(self.layout / "index.json"),
                why=f"it lists {len(entries)} images: {names or 'none'}",
                remedy="choose one of them with --tag" if entries else BUILD,
            )
        self._manifest(chosen[0])
        return Image(tuple(self.blobs.values()), tuple(self.manifests.values()))

    def _manifest(self, descriptor: Mapping[str, Any]) -> None:
        blob = self._blob(descriptor)
        if blob.size > MANIFEST_LIMIT:
            raise LayoutError("the manifest is too large", where=str(blob.path), why=f"{blob.size} bytes", remedy=BUILD)
        body = self._read(blob.path)
        actual = f"sha256:{hashlib.sha256(body).hexdigest()}"
        if actual != blob.digest:
            raise LayoutError("a manifest is damaged", where=str(blob.path), why=f"it hashes to {actual}", remedy=BUILD)
        content = _json(blob.path, body)
        media_type = str(content.get("mediaType") or descriptor.get("mediaType"))
        if media_type in INDEX_TYPES:
            for child in _descriptors(content, "manifests", blob.path):
                self._manifest(child)
        elif media_type in MANIFEST_TYPES:
            config = content.get("config")
            parts = _descriptors({"parts": [config]}, "parts", blob.path) + _descriptors(content, "layers", blob.path)
            for part in parts:
                found = self._blob(part)
                self.blobs.setdefault(found.digest, found)
        else:
            raise LayoutError(
                "unknown kind of manifest", where=str(blob.path), why=f"media type {media_type}", remedy=BUILD
            )
        self.manifests[blob.digest] = Manifest(blob.digest, media_type, body)

    def _blob(self, descriptor: Mapping[str, Any]) -> Blob:
        digest, size = descriptor["digest"], descriptor["size"]
        path = self.layout / "blobs" / "sha256" / digest.removeprefix("sha256:")
        try:
            actual = path.stat().st_size
        except OSError as error:
            why = f"{error.strerror}" + (f" (a link to {path.readlink()})" if path.is_symlink() else "")
            raise LayoutError("a blob is missing", where=str(path), why=why, remedy=BUILD) from None
        if actual != size:
            raise LayoutError(
                "a blob has a wrong size", where=str(path), why=f"expected {size} bytes, got {actual}", remedy=BUILD
            )
        return Blob(digest, size, path)

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise LayoutError(
                "no OCI image layout",
                where=str(path),
                why=error.strerror or str(error),
                remedy=f"{BUILD}, or set image.layout to its folder (--set image.layout=FOLDER)",
            ) from None


def _ref_name(descriptor: Mapping[str, Any]) -> str:
    annotations = descriptor.get("annotations")
    return str(annotations.get(REF_NAME, "")) if isinstance(annotations, dict) else ""


def _json(path: Path, body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except ValueError as error:
        raise LayoutError("the file is not valid JSON", where=str(path), why=str(error), remedy=BUILD) from None
    if not isinstance(content, dict):
        raise LayoutError("the file is not a JSON object", where=str(path), remedy=BUILD)
    return content


def _descriptors(content: Mapping[str, Any], name: str, path: Path) -> list[dict[str, Any]]:
    entries = content.get(name)
    for entry in entries if isinstance(entries, list) else [None]:
        good = (
            isinstance(entry, dict)
            and DIGEST.fullmatch(str(entry.get("digest"))) is not None
            and type(entry.get("size")) is int
            and entry["size"] >= 0
        )
        if not good and entries != []:
            raise LayoutError(
                "invalid descriptor",
                where=str(path),
                why=f"{name}: expected objects with a sha256 digest and a size, got {entry!r:.120}",
                remedy=BUILD,
            )
    return list(entries or [])
