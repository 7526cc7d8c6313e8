"""What the node agent's tests share: a real registry on loopback, and waiting for something to come true."""

import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from e2e.control_plane.part import Part

#: Seconds in which what a test waits for must come.
PATIENCE_S = 60
Found = TypeVar("Found")


@dataclass(frozen=True)
class RealRegistry:
    """docker-registry on loopback: HOST:PORT, the folder that it stores in, and its process."""

    host: str
    storage: Path
    process: Part

    def start(self) -> None:
        """Start it, and wait until it listens. Errors: ControlPlaneError with its last words when it does not."""
        self.process.start()
        port = int(self.host.rpartition(":")[2])
        self.process.wait_for("the registry to listen", lambda: answers(port))

    def blob_file(self, digest: str) -> Path:
        """Where a blob lies on the registry's disk."""
        name = digest.removeprefix("sha256:")
        return self.storage / "docker/registry/v2/blobs/sha256" / name[:2] / name / "data"


def free_port() -> int:
    """A port of loopback that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def need(name: str, variable: str = "") -> str:
    """A program that this needs. Errors: RuntimeError that says what to install."""
    found = (os.environ.get(variable) if variable else "") or shutil.which(name)
    if not found:
        raise RuntimeError(
            f"no {name} on this machine: install it" + (f", or name it in {variable}" if variable else "")
        )
    return found


#: Who may use a registry with a login, and the line about it in a file of Apache's htpasswd (bcrypt).
LOGIN = ("puller", "pull-me")
HTPASSWD = "puller:$2y$04$gBOBT4G/XpKsp75VfeLZ1eMmCV98ufAyuZd.CVTxYLrg0qtbbyE5u\n"


@contextmanager
def real_registry(
    folder: Path, port: int = 0, *, storage: Path | None = None, login: bool = False
) -> Iterator[RealRegistry]:
    """Runs docker-registry in `folder`, on a free port unless one is given.

    Arguments: `storage`, another registry's, whose content it has too; `login`, whether it serves LOGIN alone.
    """
    program, port = need("docker-registry", "LEVIATHAN_REGISTRY_BIN"), port or free_port()
    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(storage or folder / "storage")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    if login:
        (folder / "htpasswd").write_text(HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    (folder / "registry.yml").write_text(json.dumps(config))  # JSON is YAML
    process = Part("registry", [program, "serve", str(folder / "registry.yml")], folder)
    registry = RealRegistry(f"127.0.0.1:{port}", storage or folder / "storage", process)
    try:
        registry.start()
        yield registry
    finally:
        process.stop()


def answers(port: int) -> bool:
    """Whether somebody listens on a port of loopback."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(found: Callable[[], Found], what: str) -> Found:
    """Calls `found` again and again until it gives something true, and returns that."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        value = found()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {PATIENCE_S} s for {what}; the last answer was {value!r}"
        time.sleep(0.05)
