"""The `layout` step: layers and a config in, an OCI image layout folder out.

Format: github.com/opencontainers/image-spec, image-layout.md and manifest.md. Layer blobs are absolute symbolic links
to the layers' own folders, so the store holds the gigabytes once; skopeo, podman and containerd's client open them as
files.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leviathan_image import jsonfile
from leviathan_image.config import Config, image_config
from leviathan_image.errors import ImageError
from leviathan_image.layer import MEDIA_TYPE, Layer
from leviathan_image.layer_overlaps import check_stack, read_contents

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"

REF_NAME = "org.opencontainers.image.ref.name"

#: image-spec, image-layout.md, "org.opencontainers.image.ref.name": the grammar of its value.
_COMPONENT = r"[A-Za-z0-9]+(?:(?:--|[-._:@+])[A-Za-z0-9]+)*"
_REF = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")


def make_layout(layers: Sequence[Layer], config: Config, ref: str, out: Path, shadow: Sequence[str] = ()) -> str:
    """Write the layout of one image into the new folder `out` and return the manifest's digest.

    Arguments: `layers`, lowest first; `ref`, the image's name in the index (`omni/engine:tag`); `shadow`, globs of
    files that an upper layer may replace. The folder holds only what the specification names. Raises ImageError on a
    malformed `ref`, on layers that disturb one another, on a layer given twice and on an `out` that is not empty.
    """
    if not _REF.fullmatch(ref):
        raise ImageError(f"the image name {ref!r} is not what an OCI index may hold", "write it as omni/engine:tag")
    names = [layer.name for layer in layers]
    if len(set(names)) != len(names) or not names:
        raise ImageError(f"expected different layers, got {', '.join(names) or 'none'}", "give each layer once")
    findings = check_stack([read_contents(layer) for layer in layers], shadow)
    if findings:
        shown = "; ".join(finding.line() for finding in findings[:20])
        raise ImageError(f"the layers conflict in {len(findings)} places: {shown}")
    blobs = out / "blobs" / "sha256"
    try:
        if out.exists() and any(out.iterdir()):
            raise ImageError(f"the output folder {out} is not empty", "name a new folder")
        blobs.mkdir(parents=True)
        for layer in layers:
            link = blobs / layer.digest.removeprefix("sha256:")
            if not link.is_symlink():  # two layers of equal bytes are one blob
                link.symlink_to(layer.blob.absolute())
        return _write_documents(layers, config, ref, out, blobs)
    except OSError as error:
        raise ImageError(f"cannot write the layout {out}: {error.strerror}", "free space there") from error


def _write_documents(layers: Sequence[Layer], config: Config, ref: str, out: Path, blobs: Path) -> str:
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _store(blobs, CONFIG_TYPE, image_config(config, layers)),
        "layers": [{"mediaType": MEDIA_TYPE, "digest": layer.digest, "size": layer.size} for layer in layers],
    }
    descriptor = _store(blobs, MANIFEST_TYPE, manifest)
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": [
            {
                **descriptor,
                "platform": {"architecture": "amd64", "os": "linux"},
                "annotations": {REF_NAME: ref},
            }
        ],
    }
    (out / "index.json").write_bytes(jsonfile.canonical(index))
    (out / "oci-layout").write_bytes(jsonfile.canonical({"imageLayoutVersion": "1.0.0"}))
    return str(descriptor["digest"])


def _store(blobs: Path, media_type: str, document: dict[str, Any]) -> dict[str, Any]:
    """Write `document` as a blob and return its descriptor."""
    data = jsonfile.canonical(document)
    digest = hashlib.sha256(data).hexdigest()
    (blobs / digest).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}
