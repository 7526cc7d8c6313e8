"""The built image plus one layer, for a machine without a GPU: what runs in it is the image's own, on the CPU.

The layer holds the replacements of tests/engine (cpu_shims.py, cpu-rules.yaml): what has no meaning without CUDA. They
reach the engine's process through a `.pth` file; the entry point adds `--device cpu` to the pod's arguments.
"""

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from .errors import WayError

ENGINE = Path(__file__).resolve().parents[2] / "engine"
PACKAGES = "usr/local/lib/python3.11/dist-packages"
PLACE = f"{PACKAGES}/e2e_cpu"
ENTRY = """\
import os, sys
from leviathan_engine.__main__ import main
more = ["--cache_lens=512", "--max_new_tokens=64", "--optimize_config_path=/{place}/cpu-rules.yaml"]
more += ["--", "--device", "cpu"]
code = main([*sys.argv[1:], *more])
sys.stdout.flush(); sys.stderr.flush()
os._exit(code)
"""
INIT = """\
import sys
if "leviathan_engine.worker" in sys.orig_argv:
    from e2e_cpu import cpu_shims
    cpu_shims.apply()
"""
TAR = "application/vnd.oci.image.layer.v1.tar"


def files() -> dict[str, bytes]:
    """Path in the image → content of what the layer holds."""
    return {
        f"{PACKAGES}/e2e_cpu.pth": b"import e2e_cpu\n",
        f"{PLACE}/__init__.py": INIT.encode(),
        f"{PLACE}/__main__.py": ENTRY.format(place=PLACE).encode(),
        f"{PLACE}/cpu_shims.py": (ENGINE / "cpu_shims.py").read_bytes(),
        f"{PLACE}/cpu-rules.yaml": (ENGINE / "cpu-rules.yaml").read_bytes(),
    }


def layer(content: dict[str, bytes]) -> bytes:
    """A tar of plain files, the same bytes each time."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(content):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content[name]), 0o644, 1
            tar.addfile(entry, io.BytesIO(content[name]))
    return out.getvalue()


class Layout:
    """An OCI image layout in `folder` (OCI image specification, "Image Layout")."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def blob(self, digest: str) -> Path:
        """Where a blob lies."""
        return self.folder / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def load(self, digest: str) -> dict[str, Any]:
        """A JSON blob."""
        value: dict[str, Any] = json.loads(self.blob(digest).read_bytes())
        return value

    def verify(self, descriptor: dict[str, Any]) -> None:
        """Errors: WayError unless a blob has the size and the digest that its descriptor says."""
        path = self.blob(descriptor["digest"])
        with path.open("rb") as stream:
            digest = f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
        size = path.stat().st_size
        if (digest, size) != (descriptor["digest"], descriptor["size"]):
            raise WayError(f"{path} is {digest} of {size} bytes, and its descriptor says {descriptor}")

    def store(self, data: bytes) -> dict[str, Any]:
        """Store a blob; its digest and size, as a descriptor has them."""
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        self.blob(digest).write_bytes(data)
        return {"digest": digest, "size": len(data)}


def derive(source: Path, target: Path, stamp: str = "") -> str:
    """Make `target` a layout of the image in `source` with the layer on top; the manifest's digest.

    The other blobs are links to those of `source`. Another `stamp` gives another layer, as a new launcher does.
    """
    old, new = Layout(source.resolve()), Layout(target)
    new.blob("").mkdir(parents=True)
    index = json.loads((old.folder / "index.json").read_bytes())
    manifest = old.load(index["manifests"][0]["digest"])
    config = old.load(manifest["config"]["digest"])
    for item in manifest["layers"]:
        new.blob(item["digest"]).symlink_to(old.blob(item["digest"]))
    top = layer(files() | ({f"{PLACE}/stamp": stamp.encode()} if stamp else {}))
    manifest["layers"].append({"mediaType": TAR, **new.store(top)})
    config["rootfs"]["diff_ids"].append("sha256:" + hashlib.sha256(top).hexdigest())
    config["config"]["Entrypoint"] = ["python3", "-m", "e2e_cpu"]
    manifest["config"].update(new.store(json.dumps(config).encode()))
    entry = index["manifests"][0]
    entry.update(new.store(json.dumps(manifest).encode()))
    (target / "index.json").write_text(json.dumps(index), encoding="utf-8")
    (target / "oci-layout").write_bytes((old.folder / "oci-layout").read_bytes())
    return str(entry["digest"])
