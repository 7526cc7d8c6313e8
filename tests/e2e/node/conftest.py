"""Fixtures of the node agent's tests."""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from e2e.control_plane.errors import ControlPlaneError
from e2e.control_plane.settings import find_programs

from .cluster import Cluster, real_cluster
from .container import Plan
from .process import Ending, Process
from .support import until
from .tiny_image import busybox_layer
from .unpack import unpack


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    """Namespaces, mounts and ownership want root."""
    if os.geteuid() != 0:
        pytest.skip("not root: namespaces, mounts and control groups cannot be made")


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unpacked busybox layer."""
    folder = tmp_path_factory.mktemp("busybox")
    blob = folder / "blob"
    blob.write_bytes(busybox_layer().data)
    target = folder / "layer"
    target.mkdir()
    unpack(blob, target, [])
    return target


@dataclass
class Bench:
    """Runs containers on a busybox layer, and ends those that a test leaves running."""

    layer: Path
    folder: Path
    count: int = 0

    def __post_init__(self) -> None:
        self.processes: list[Process] = []
        self.done = threading.Event()

    def plan(self, *argv: str, **fields: object) -> Plan:
        """A plan for a command, fields as given."""
        self.count += 1
        work = self.folder / f"c{self.count}"
        work.mkdir()
        plain = Plan("box", (str(self.layer),), str(work), argv, {"PATH": "/bin"}, "/", 0, 0)
        return replace(plain, **fields)  # type: ignore[arg-type]

    def log(self, plan: Plan) -> Path:
        """Where the plan's log is."""
        return Path(plan.work) / "0.log"

    def start(self, plan: Plan, network: int | None = None) -> Process:
        """Start it."""
        process = Process(plan, self.log(plan), network, self.done.set)
        self.processes.append(process)
        return process

    def run(self, *argv: str, network: int | None = None, **fields: object) -> tuple[Ending, list[str]]:
        """Run a command to its end; how it ended, and its lines."""
        plan = self.plan(*argv, **fields)
        process = self.start(plan, network)
        ending = until(lambda: process.ending, "the container to end")
        assert ending is not None
        return ending, [line.split(" ", 3)[3] for line in self.log(plan).read_text().splitlines()]


@pytest.fixture
def bench(busybox: Path, tmp_path: Path) -> Iterator[Bench]:
    """A place to run containers."""
    one = Bench(busybox, tmp_path)
    yield one
    for process in one.processes:
        process.signal(9)
        kept = process
        until(lambda kept=kept: kept.ending, "a container to be killed")  # type: ignore[misc]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One control plane with its node for all tests; each has pods of its own.

    Needs LEVIATHAN_KUBERNETES, a folder with Kubernetes' programs; with LEVIATHAN_E2E=required it fails without them.
    """
    try:
        find_programs(os.environ)
    except ControlPlaneError as error:
        if os.environ.get("LEVIATHAN_E2E") == "required":
            raise
        pytest.skip(str(error))
    with real_cluster(tmp_path_factory.mktemp("cluster")) as one:
        yield one
