"""What a whole deployment needs on one machine: a registry, an image, a front end behind the NodePort, a played node.

The registry (docker-registry) and the front end are the real ones. The node only is played: `PlayedNode` writes what a
kubelet would write about the engine's pod, through the real API of a control plane without a kubelet.
"""

import contextlib
import itertools
import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from push_support import Layout, RealRegistry, make_layout, real_registry
from smoke_support import MODEL, FrontProcess

from leviathan.cluster.client import Cluster, ClusterError
from leviathan.site.load import load
from leviathan.site.schema import Site
from socket_relay import relay

SIZES = (300_000, 20_000)
#: The site of a recording, whose values a replay puts its own for.
HOST, NODE_PORT = "127.0.0.1:5999", 30999


@dataclass(frozen=True)
class Stage:
    """The surroundings of a deployment; `settings` are its site's, as `section.key=value`."""

    folder: Path
    registry: RealRegistry
    layout: Layout
    front: Any
    settings: tuple[str, ...]

    @property
    def site(self) -> Site:
        """The site."""
        return load(settings=self.settings).site

    @property
    def arguments(self) -> list[str]:
        """The settings for a command line."""
        return [word for setting in self.settings for word in ("--set", setting)]


@contextlib.contextmanager
def stage(folder: Path, *more: str, host: str = "", node_port: int = 0) -> Iterator[Stage]:
    """Set the stage in `folder`; `more` settings; `host` is what the site calls the registry, which then is not asked.

    The image is the same each time, so that a recording fits.
    """
    layout = make_layout(folder / "image", SIZES)
    front = FrontProcess(folder)
    try:
        front.letters.delay = 0.002
        front.serve()
        with real_registry(folder) as registry, behind_node_port(front, node_port) as port:
            settings = {
                "registry.host": host or registry.host,
                "image.layout": str(layout.path),
                "push.chunk_mib": "1",
                "cluster.address": "127.0.0.1",
                "engine.node_port": str(port),
                "engine.model_name": MODEL,
                "smoke.max_tokens": "10",
                "smoke.min_tokens_per_s": "0.1",
                "smoke.timeout_s": "20",
                "rollout.idle_s": "60",
                "model.pod_namespace": "default",
            }
            yield Stage(folder, registry, layout, front, (*(f"{k}={v}" for k, v in settings.items()), *more))
    finally:
        front.close()


@contextlib.contextmanager
def behind_node_port(front: Any, port: int = 0) -> Iterator[int]:
    """Pass connections to a port from the range of NodePorts on to the front end; gives the port."""
    target = ("127.0.0.1", int(front.url.rsplit(":", 1)[1]))
    listener = _listener(port)
    threading.Thread(target=relay, args=(listener, partial(socket.create_connection, target)), daemon=True).start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _listener(port: int) -> socket.socket:
    for candidate in [port] if port else random.sample(range(30000, 32768), 200):
        try:
            return socket.create_server(("127.0.0.1", candidate))
        except OSError:
            continue
    raise AssertionError("no port between 30000 and 32767 is free")


def unsteady(letters: Any) -> Any:
    """A model whose second letter differs from answer to answer."""
    right, turn = letters.tokens, itertools.count()

    def tokens(job: Any, *heard: Any) -> Iterator[int]:
        for place, letter in enumerate(right(job, *heard)):
            yield letters.ids[next(turn) % 26] if place == 1 else letter

    return tokens


class PlayedNode:
    """Plays the kubelet for the engine's pods: starts each, has it Ready after `ready_s`, and lets deleted ones go.

    Arguments: `broken`, digests whose container never gets ready.
    """

    def __init__(self, cluster: Cluster, site: Site, *, ready_s: float = 1.0, broken: tuple[str, ...] = ()) -> None:
        self.cluster, self.site, self.ready_s, self.broken = cluster, site, ready_s, broken
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._begun: dict[str, Any] = {}

    def __enter__(self) -> "PlayedNode":
        self._thread.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.wait(0.3):
            with contextlib.suppress(ClusterError):
                self._look()

    def _look(self) -> None:
        from played_kubelet import Kubelet  # noqa: PLC0415 - the folder of the recorders is on the path there only

        path = f"/api/v1/namespaces/{self.site.cluster.namespace}/pods"
        for pod in self.cluster.list(path, labelSelector=f"app={self.site.workload.app}"):
            name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
            if pod["metadata"].get("deletionTimestamp"):
                self.cluster.delete(f"{path}/{name}", gracePeriodSeconds=0)
            elif pod["spec"].get("nodeName") and uid not in self._begun:
                self._begun[uid] = kubelet = Kubelet(self.cluster, pod)
                kubelet.creating()
                if not any(digest in kubelet.image for digest in self.broken):
                    threading.Timer(self.ready_s, self._start, (kubelet,)).start()

    def downloaded(self) -> None:
        """Have the pod that downloads the model be there and have succeeded."""
        path = f"/api/v1/namespaces/{self.site.model.pod_namespace}/pods"
        name = self.site.model.pod
        if self.cluster.get(f"{path}/{name}") is None:
            containers = [{"name": "download", "image": "download:1"}]
            metadata = {"name": name, "namespace": self.site.model.pod_namespace}
            # No scheduler of this name is there: the pod stays without a node, as no kubelet could show its log.
            spec = {"restartPolicy": "Never", "schedulerName": "nobody", "containers": containers}
            self.cluster.create(path, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        done = {"phase": "Succeeded"}
        self.cluster.patch(
            f"{path}/{name}/status", {"status": done}, content_type="application/strategic-merge-patch+json"
        )

    def _start(self, kubelet: Any) -> None:
        with contextlib.suppress(ClusterError):
            kubelet.running(ready=True)
