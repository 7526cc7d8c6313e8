"""The `verify` command: every byte of a layout hashed again, every layer unpacked in memory and judged."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from leviathan_image.errors import ImageError
from leviathan_image.findings import Finding
from leviathan_image.layout_reader import Image, OpenedLayer, open_layout
from leviathan_image.tarcheck import check_tar
from leviathan_image.zstdpipe import decompressed

_AGAIN = "make the layout again"
_TOP = {"oci-layout", "index.json", "blobs"}


def verify(folder: Path, say: Callable[[str], None]) -> tuple[list[Finding], list[str]]:
    """All findings about the layout in `folder`, and the facts: what was hashed.

    Checks the documents, each layer's digest, size and diffID, each tar's headers, and that the folder holds nothing
    else. `say` is told before each layer, which takes seconds a gigabyte.
    """
    try:
        image = open_layout(folder)
    except ImageError as error:
        return [Finding("layout", str(folder), error.message, error.remedy)], []
    findings = _strays(image)
    facts = [f"{image.ref}: {image.digest}"]
    for layer in image.layers:
        say(f"verify: layer {layer.name}, {layer.blob.size:,} bytes")
        try:
            found, fact = _layer(image, layer)
        except ImageError as error:
            found, fact = [Finding("layer", layer.name, error.message, error.remedy)], f"{layer.name}: unreadable"
        except OSError as error:
            found = [Finding("layer", layer.name, f"its blob cannot be read: {error.strerror}", _AGAIN)]
            fact = f"{layer.name}: unreadable"
        findings += found
        facts.append(fact)
    return findings, facts


def _layer(image: Image, layer: OpenedLayer) -> tuple[list[Finding], str]:
    path = image.path(layer.blob.digest)
    with path.open("rb") as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    size = path.stat().st_size
    findings = []
    if (digest, size) != (layer.blob.digest, layer.blob.size):
        what = f"blob is {digest}, {size} bytes; the manifest says {layer.blob.digest}, {layer.blob.size}"
        findings.append(Finding("digest", layer.name, what, _AGAIN))
    with decompressed(path) as stream:
        tar = check_tar(stream, layer.name)
    if tar.digest != layer.diff_id:
        what = f"its tar is {tar.digest}; the config's diff_id says {layer.diff_id}"
        findings.append(Finding("diff-id", layer.name, what, _AGAIN))
    fact = f"{layer.name}: {size:,} bytes, {tar.size:,} unpacked, {tar.members:,} members"
    return findings + list(tar.findings), fact


def _strays(image: Image) -> list[Finding]:
    """Files of the layout that no document names."""
    config = image.manifest["config"]["digest"]
    named = {image.path(digest) for digest in (image.digest, config, *(layer.blob.digest for layer in image.layers))}
    present = set((image.folder / "blobs" / "sha256").iterdir())
    extra = {path for path in image.folder.iterdir() if path.name not in _TOP} | (present - named)
    return [Finding("stray", str(path.relative_to(image.folder)), "nothing names it", _AGAIN) for path in sorted(extra)]
