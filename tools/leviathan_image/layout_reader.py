"""An OCI image layout opened for reading: its one image, every document checked against its descriptor."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leviathan_image.errors import ImageError
from leviathan_image.layer import MEDIA_TYPE
from leviathan_image.layout import CONFIG_TYPE, MANIFEST_TYPE, REF_NAME


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A blob as a manifest names it: media type, digest (`sha256:<hex>`), size in bytes."""

    media_type: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class OpenedLayer:
    """One layer: its blob's descriptor, the digest of the tar inside, and its name from the history (or its number)."""

    name: str
    blob: Descriptor
    diff_id: str


@dataclass(frozen=True, slots=True)
class Image:
    """The image of a layout: `digest` of its manifest, `ref`, its name in the index, the parsed documents, layers."""

    folder: Path
    ref: str
    digest: str
    manifest: dict[str, Any]
    config: dict[str, Any]
    layers: tuple[OpenedLayer, ...]

    def path(self, digest: str) -> Path:
        """The file of a blob."""
        return blob_path(self.folder, digest)


def blob_path(folder: Path, digest: str) -> Path:
    """Where `digest` lies in the layout `folder`. Raises ImageError on anything but `sha256:` and 64 hex digits."""
    algorithm, _, name = digest.partition(":")
    if algorithm != "sha256" or len(name) != 64 or set(name) - set("0123456789abcdef"):
        raise ImageError(f"{folder}: expected a blob sha256:<64 hex digits>, got {digest!r}", "make the layout again")
    return folder / "blobs" / "sha256" / name


def open_layout(folder: Path) -> Image:
    """Read the layout in `folder`. Raises ImageError on the first document that is missing, damaged or not ours."""
    try:
        version = json.loads((folder / "oci-layout").read_bytes())["imageLayoutVersion"]
        index = json.loads((folder / "index.json").read_bytes())
        if version != "1.0.0" or len(index["manifests"]) != 1:
            raise ImageError(
                f"{folder}: expected one image, version 1.0.0, got {len(index['manifests'])}, version {version}",
                "make it again",
            )
        entry = index["manifests"][0]
        manifest = _document(folder, entry, MANIFEST_TYPE)
        config = _document(folder, manifest["config"], CONFIG_TYPE)
        blobs = [_descriptor(item) for item in manifest["layers"]]
        diff_ids = [str(item) for item in config["rootfs"]["diff_ids"]]
        history = [str(item.get("created_by", "")) for item in config.get("history", [])]
    except OSError as error:
        raise ImageError(f"{error.filename} is missing from the layout: {error.strerror}", "make it again") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImageError(f"{folder} is not a readable OCI layout: {error!r}", "make it again") from error
    if len(blobs) != len(diff_ids):
        raise ImageError(f"{folder}: {len(blobs)} layers but {len(diff_ids)} diff_ids", "make the layout again")
    wrong = sorted({blob.media_type for blob in blobs} - {MEDIA_TYPE})
    if wrong:
        raise ImageError(f"{folder}: expected layers of type {MEDIA_TYPE}, got {', '.join(wrong)}", "make it again")
    names = [line.rpartition(" ")[2] for line in history] if len(history) == len(blobs) else []
    layers = tuple(
        OpenedLayer(names[number] if names else str(number), blob, diff_id)
        for number, (blob, diff_id) in enumerate(zip(blobs, diff_ids, strict=True))
    )
    ref = str(entry.get("annotations", {}).get(REF_NAME, ""))
    return Image(folder, ref, str(entry["digest"]), manifest, config, layers)


def _descriptor(item: dict[str, Any]) -> Descriptor:
    return Descriptor(str(item["mediaType"]), str(item["digest"]), int(item["size"]))


def _document(folder: Path, item: dict[str, Any], media_type: str) -> dict[str, Any]:
    """The JSON object behind a descriptor, its type, size and hash checked."""
    descriptor = _descriptor(item)
    data = blob_path(folder, descriptor.digest).read_bytes()
    actual = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if (descriptor.media_type, descriptor.digest, descriptor.size) != (media_type, actual, len(data)):
        raise ImageError(
            f"{folder}: blob {descriptor.digest} ({descriptor.media_type}, {descriptor.size} bytes) is really {actual},"
            f" {len(data)} bytes, wanted {media_type}",
            "make the layout again",
        )
    document = json.loads(data)
    if not isinstance(document, dict):
        raise ImageError(f"{folder}: blob {descriptor.digest} is not a JSON object", "make the layout again")
    return document
