"""The node's image store: unpacked layers, shared and read-only, named by what is in them.

A layer's folder is named by its chain ID (OCI image specification, config.md): the digest over its own tar and all
below it. It appears by a rename, so a folder that is there is whole.
"""

import hashlib
import json
import shutil
import tempfile
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .reference import Reference
from .registry import Credentials, PullError, Registry
from .unpack import LayerError, unpack

Json = dict[str, Any]


@dataclass(frozen=True)
class Image:
    """A pulled image: `digest` of its manifest, bytes over the network, chain IDs lowest first, and its OCI config."""

    name: str
    digest: str
    size: int
    chain: tuple[str, ...]
    config: Json


class ImageStore:
    """The images of one node. Safe for use by several threads; equal pulls wait for each other."""

    def __init__(
        self, root: Path, plain: Collection[str] = (), talk: Callable[[str], None] = lambda _text: None
    ) -> None:
        """`root`: a folder of its own, made when missing; `plain`: registries without TLS, as HOST:PORT."""
        self._layers, self._ingest, self._index = root / "layers", root / "ingest", root / "images.json"
        self._plain, self._talk = plain, talk
        self._layers.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._ingest, ignore_errors=True)
        self._ingest.mkdir()
        self._lock, self._busy = threading.Lock(), threading.Lock()
        self._images = self._load()

    def find(self, reference: Reference) -> Image | None:
        """The image by its reference, if it has been pulled."""
        with self._lock:
            return self._images.get(str(reference))

    def all(self) -> list[Image]:
        """All images, for the node's status."""
        with self._lock:
            return list(self._images.values())

    def folders(self, image: Image) -> list[Path]:
        """The layers' folders, lowest first."""
        return [self._folder(chain) for chain in image.chain]

    def pull(self, reference: Reference, credentials: Credentials | None = None) -> Image:
        """Fetches manifest, config and the layers that are not here. Errors: PullError, worded for the pod's status."""
        registry = Registry(reference, self._plain, credentials or {})
        try:
            digest, manifest, data = registry.manifest()
            config = registry.config(manifest["config"])
            layers: list[Json] = manifest["layers"]
            diffs = config.get("rootfs", {}).get("diff_ids", [])
            if len(diffs) != len(layers):
                raise _failure(reference, f"mismatched image rootfs and manifest layers: {len(diffs)}, {len(layers)}")
            chain = _chain(diffs)
            with self._busy:
                self._fetch(registry, reference, layers, diffs, chain)
        finally:
            registry.close()
        size = len(data) + manifest["config"]["size"] + sum(layer["size"] for layer in layers)
        image = Image(str(reference), digest, size, tuple(chain), config)
        with self._lock:
            self._images[str(reference)] = image
            self._save()
        return image

    def _fetch(
        self, registry: Registry, reference: Reference, layers: list[Json], diffs: list[str], chain: list[str]
    ) -> None:
        missing = [n for n, name in enumerate(chain) if not self._folder(name).exists()]
        with tempfile.TemporaryDirectory(dir=self._ingest) as name, ThreadPoolExecutor(3) as pool:
            work = Path(name)

            def download(number: int) -> Path:
                path = work / str(number)
                with path.open("wb") as out:
                    registry.blob(layers[number], out.write)
                return path

            downloads = {number: pool.submit(download, number) for number in missing}
            try:
                for number in missing:
                    blob = downloads[number].result()
                    below = [self._folder(c) for c in chain[:number]]
                    self._unpack(reference, blob, diffs[number], chain[number], below)
                    blob.unlink()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _unpack(self, reference: Reference, blob: Path, diff: str, chain: str, below: list[Path]) -> None:
        partial = Path(tempfile.mkdtemp(dir=self._ingest))
        try:
            seen = unpack(blob, partial, below)
            if seen != diff:
                text = f"wrong diff id {seen} calculated on extraction, expected {diff}"
                raise _failure(reference, f"failed to extract layer {diff}: {text}")
            partial.rename(self._folder(chain))
        except (LayerError, OSError) as err:
            raise _failure(reference, f"failed to extract layer {diff}: {err}") from err
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self._talk(f"unpacked {diff[:19]} of {reference}")

    def _folder(self, chain: str) -> Path:
        return self._layers / chain.removeprefix("sha256:")

    def _load(self) -> dict[str, Image]:
        try:
            found = [Image(**e | {"chain": tuple(e["chain"])}) for e in json.loads(self._index.read_text())]
        except FileNotFoundError:
            return {}
        return {image.name: image for image in found if all(self._folder(c).exists() for c in image.chain)}

    def _save(self) -> None:
        new = self._index.with_suffix(".new")
        new.write_text(json.dumps([asdict(image) for image in self._images.values()]))
        new.rename(self._index)


def _chain(diffs: list[str]) -> list[str]:
    chain: list[str] = []
    for diff in diffs:
        chain.append("sha256:" + hashlib.sha256(f"{chain[-1]} {diff}".encode()).hexdigest() if chain else diff)
    return chain


def _failure(reference: Reference, text: str) -> PullError:
    return PullError("Unknown", f'failed to pull and unpack image "{reference}": {text}')
