"""What the push tests share: synthetic layouts, a site for a test registry, and a real registry on loopback."""

import hashlib
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from leviathan.push.push_image import PushContext
from leviathan.registry.attempts import Backoff
from leviathan.site.load import load
from leviathan.site.schema import Site
from leviathan.terminal.output import Console

TOOLS = Path(__file__).parents[2] / "tools"
REPOSITORY = "omni/engine"
TAG = "leviathan-standard"
OCI = "application/vnd.oci.image"
MIB = 1 << 20


@dataclass(frozen=True)
class Layout:
    """A synthetic layout: its folder, the manifest's digest, and the sizes of all blobs by digest."""

    path: Path
    digest: str
    blobs: dict[str, int]

    @property
    def biggest(self) -> str:
        """The digest of the biggest blob."""
        return max(self.blobs, key=lambda digest: self.blobs[digest])

    @property
    def manifest_bytes(self) -> int:
        """What a push sends besides the blobs: the manifest, once under its digest and once under the tag."""
        return 2 * len(self.bytes_of(self.digest))

    def bytes_of(self, digest: str) -> bytes:
        """A blob's bytes."""
        return (self.path / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()


def make_layout(folder: Path, sizes: Sequence[int], *, seed: int = 0) -> Layout:
    """A layout with a layer of each size (pseudo-random bytes), its blobs symlinks into a store next to it."""
    store, blobs = folder / "store", folder / "layout/blobs/sha256"
    store.mkdir(parents=True)
    blobs.mkdir(parents=True)

    def put(name: str, size: int, data: bytes | None = None) -> dict[str, str | int]:
        digest, dice = hashlib.sha256(), random.Random(f"{seed} {name} {size}")
        with (store / name).open("wb") as stream:
            left = size
            while left:
                piece = data if data is not None else dice.randbytes(min(left, 4 * MIB))
                digest.update(piece)
                stream.write(piece)
                left -= len(piece)
        (blobs / digest.hexdigest()).symlink_to(store / name)
        return {"digest": f"sha256:{digest.hexdigest()}", "size": size}

    def put_json(name: str, content: object) -> dict[str, str | int]:
        data = json.dumps(content).encode()
        return put(name, len(data), data)

    layers = [{"mediaType": f"{OCI}.layer.v1.tar+zstd", **put(f"layer{n}", size)} for n, size in enumerate(sizes)]
    diffs = [layer["digest"] for layer in layers]
    config = put_json(
        "config", {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diffs}}
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": {"mediaType": f"{OCI}.config.v1+json", **config},
        "layers": layers,
    }
    top = put_json("manifest", manifest)
    entry = {"mediaType": f"{OCI}.manifest.v1+json", **top, "annotations": {"org.opencontainers.image.ref.name": TAG}}
    layout = folder / "layout"
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    sized = {str(part["digest"]): int(part["size"]) for part in (config, *layers)}
    return Layout(layout, str(top["digest"]), sized)


def make_site(host: str, layout: Layout | None = None, **named: str) -> Site:
    """A site for a test registry: chunks of 1 MiB, plain HTTP; `named` is section_key → text, parted at the first _."""
    values = {"registry.host": host, "push.chunk_mib": "1", "push.timeout_s": "10"}
    if layout is not None:
        values["image.layout"] = str(layout.path)
    values |= {name.replace("_", ".", 1): text for name, text in named.items()}
    return load(named=values).site


class Talk(io.StringIO):
    """stderr of a test."""


def make_around(home: Path, **environ: str) -> tuple[PushContext, Talk]:
    """Surroundings with a state folder and Docker config of their own, and short waits."""
    talk = Talk()
    environment = {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), **environ}
    return PushContext(environment, Console(talk), backoff=Backoff(base_s=0.01, cap_s=0.05)), talk


def find_program(name: str, variable: str, *waivers: str) -> str:
    """A program of the tests' surroundings; without it the test fails, unless a waiver is set in the environment."""
    found = os.environ.get(variable) or shutil.which(name)
    if found:
        return found
    if any(os.environ.get(waiver) == "1" for waiver in waivers):
        pytest.skip(f"no {name} on this machine, and {' or '.join(waivers)} waives it")
    pytest.fail(f"no {name}: install Debian's {name}, or name it in {variable}, or waive it with {waivers[0]}=1")


@dataclass(frozen=True)
class RealRegistry:
    """docker-registry on loopback, its storage folder, and its processes so far, of which the last one runs."""

    host: str
    storage: Path
    argv: tuple[str, ...]
    processes: list[subprocess.Popen[bytes]]

    def start(self) -> None:
        """Run it, and wait until it listens."""
        with (self.storage.parent / "registry.log").open("ab") as log:
            server = subprocess.Popen(self.argv, stdout=log, stderr=log)
        self.processes.append(server)
        name, _, port = self.host.rpartition(":")
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex((name, int(port))) == 0:
                    return
            assert server.poll() is None, (self.storage.parent / "registry.log").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL it; what it has written stays."""
        self.processes[-1].kill()
        self.processes[-1].wait(10)

    def stop(self) -> None:
        """End it."""
        self.processes[-1].terminate()
        self.processes[-1].wait(10)

    def partial(self) -> int:
        """Bytes of the biggest upload under way, as they are on the registry's disk."""
        return max(self.uploads(), default=0)

    def uploads(self) -> list[int]:
        """Bytes of each upload under way, as they are on the registry's disk."""
        sizes = []
        # os.walk passes over a folder that goes away while it is read, as an upload's does; Path.glob raises.
        for folder, _, files in os.walk(self.storage / "docker/registry/v2/repositories"):
            if "data" in files and Path(folder).parent.name == "_uploads":
                with suppress(FileNotFoundError):
                    sizes.append((Path(folder) / "data").stat().st_size)
        return sizes

    def blob(self, digest: str) -> bytes:
        """A blob as it lies on the registry's disk."""
        hex_ = digest.removeprefix("sha256:")
        return (self.storage / "docker/registry/v2/blobs/sha256" / hex_[:2] / hex_ / "data").read_bytes()


@contextmanager
def real_registry(folder: Path, **http: object) -> Iterator[RealRegistry]:
    """Run docker-registry on a free port of loopback; `http` goes into that section of its configuration."""
    program = find_program("docker-registry", "LEVIATHAN_REGISTRY_BIN", "LEVIATHAN_WITHOUT_REGISTRY")
    auth = http.pop("auth", None)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    storage = folder / "storage"
    config = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(storage)}},
        "http": {"addr": f"127.0.0.1:{port}", **http},
        **({"auth": auth} if auth else {}),
    }
    (folder / "registry.yml").write_text(json.dumps(config))  # JSON is YAML
    registry = RealRegistry(f"127.0.0.1:{port}", storage, (program, "serve", str(folder / "registry.yml")), [])
    registry.start()
    try:
        yield registry
    finally:
        registry.stop()


def start_cli(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """`leviathan` as a process of its own session, with its own home."""
    return subprocess.Popen(
        [sys.executable, "-m", "leviathan", *arguments],
        env={
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": str(TOOLS),
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "state"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill_group(process: subprocess.Popen[str]) -> None:
    """SIGKILL a process and all it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
