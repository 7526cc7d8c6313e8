"""Tiny images for tests: layers made of a few entries, and a busybox image that can do what a shell can."""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

OCI = "application/vnd.oci.image"


@dataclass(frozen=True)
class Entry:
    """One tar entry: a file's bytes, or `link` as the goal of a symbolic (`hard`: hard) link, or a folder."""

    data: bytes | None = None
    mode: int = 0o755
    link: str = ""
    hard: bool = False
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Blob:
    """A compressed layer: its bytes, media type, and the digest of the tar inside."""

    data: bytes
    media: str
    diff: str

    @property
    def digest(self) -> str:
        """Of the compressed bytes."""
        return "sha256:" + hashlib.sha256(self.data).hexdigest()


def tar(entries: Mapping[str, Entry]) -> bytes:
    """A tar with the entries in their order."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, entry in entries.items():
            info = tarfile.TarInfo(name)
            info.mode, info.uid, info.gid, info.mtime = entry.mode, entry.uid, entry.gid, 1
            if entry.link:
                info.type, info.linkname = (tarfile.LNKTYPE if entry.hard else tarfile.SYMTYPE), entry.link
                archive.addfile(info)
            elif entry.data is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            else:
                info.size = len(entry.data)
                archive.addfile(info, io.BytesIO(entry.data))
    return out.getvalue()


def layer(entries: Mapping[str, Entry], compression: str = "zstd") -> Blob:
    """A layer; `compression` is zstd, gzip or "" for none."""
    plain = tar(entries)
    diff = "sha256:" + hashlib.sha256(plain).hexdigest()
    if compression == "zstd":
        packed = subprocess.run(["zstd", "-qc"], input=plain, stdout=subprocess.PIPE, check=True, timeout=60).stdout
    else:
        packed = gzip.compress(plain, mtime=0) if compression == "gzip" else plain
    return Blob(packed, f"{OCI}.layer.v1.tar" + (f"+{compression}" if compression else ""), diff)


def push(host: str, repository: str, tag: str, layers: Sequence[Blob], config: Mapping[str, Any]) -> str:
    """Puts an image into a registry over plain HTTP and returns its manifest's digest. Errors: httpx.HTTPError."""
    base = f"http://{host}/v2/{repository}"
    with httpx.Client(timeout=60, trust_env=False) as http:

        def put(data: bytes) -> dict[str, Any]:
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            place = http.post(f"{base}/blobs/uploads/").raise_for_status().headers["Location"]
            url = httpx.URL(base).join(place).copy_merge_params({"digest": digest})
            http.put(url, content=data).raise_for_status()
            return {"digest": digest, "size": len(data)}

        rootfs = {"type": "layers", "diff_ids": [blob.diff for blob in layers]}
        document = {"architecture": "amd64", "os": "linux", "config": dict(config), "rootfs": rootfs}
        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": {"mediaType": f"{OCI}.config.v1+json", **put(json.dumps(document).encode())},
            "layers": [{"mediaType": blob.media, **put(blob.data)} for blob in layers],
        }
        headers = {"Content-Type": str(manifest["mediaType"])}
        answer = http.put(f"{base}/manifests/{tag}", content=json.dumps(manifest).encode(), headers=headers)
        return str(answer.raise_for_status().headers["Docker-Content-Digest"])


def busybox_layer() -> Blob:
    """busybox-static with a link for each of its programs, and the folders that a root file system has.

    Errors: FileNotFoundError where this machine has no static busybox.
    """
    program = os.environ.get("LEVIATHAN_BUSYBOX") or shutil.which("busybox")
    if program is None:
        raise FileNotFoundError("no busybox: install Debian's busybox-static, or name one in LEVIATHAN_BUSYBOX")
    names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True, timeout=10).stdout.split()
    folders = ("bin", "etc", "home", "root", "usr", "usr/bin", "var", "www")
    entries = {f"{name}/": Entry() for name in folders}
    entries["tmp/"] = Entry(mode=0o1777)
    entries["bin/busybox"] = Entry(Path(program).read_bytes())
    entries |= {f"bin/{name}": Entry(link="busybox") for name in names if name != "busybox"}
    entries["etc/passwd"] = Entry(b"root:x:0:0:root:/root:/bin/sh\nengine:x:65532:65532::/home:/bin/sh\n", 0o644)
    entries["etc/group"] = Entry(b"root:x:0:\nengine:x:65532:\n", 0o644)
    return layer(entries)
