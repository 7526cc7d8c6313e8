"""The agent: watches the pods bound to its node, and gives each a worker; serves logs and NodePorts."""

import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import cgroup
from .api import Api, Mirror
from .events import Recorder
from .images import ImageStore
from .member import Identity, Member
from .pod import PodWorker
from .proxy import Proxy
from .quantity import amount, requested
from .server import KubeletServer, NoLog, waiting
from .surroundings import Surroundings
from .timing import Timing

Json = dict[str, Any]
RESOURCES = {
    "cpu": "96",
    "memory": "384Gi",
    "ephemeral-storage": "900Gi",
    "pods": "110",
    "nvidia.com/gpu": "2",
}


@dataclass(frozen=True)
class Settings:
    """`root`: a folder of the agent's own, on a file system that can hold an overlay's upper layer; `plain_registries`:
    HOST:PORT of registries spoken to without TLS; `client_ca`: who may read logs, None for anybody on this machine;
    `certificate`: the kubelet server's, with its key, None for a self-signed one; `proxy_kubeconfig`: kube-proxy's, who
    may see EndpointSlices, which a node may not, None for the same as the node's; `outward`: ports of the node's
    loopback that lead out of every pod under the same number.
    """

    kubeconfig: Path
    root: Path
    name: str = "talos-u8k-rze"
    address: str = "127.0.0.1"
    port: int = 0
    plain_registries: tuple[str, ...] = ()
    client_ca: Path | None = None
    timing: Timing = field(default_factory=Timing)
    certificate: tuple[Path, Path] | None = None
    proxy_kubeconfig: Path | None = None
    outward: tuple[int, ...] = ()
    kubelet_version: str = "v1.34.4"
    resources: dict[str, str] = field(default_factory=lambda: dict(RESOURCES))


class Agent:
    """One node."""

    def __init__(self, settings: Settings, talk: Callable[[str], None] | None = None) -> None:
        """Nothing runs before `start`. Errors: ApiError for a kubeconfig that is none, OSError for a port taken."""
        self._settings = settings
        self._talk = talk or _to_stderr
        root = settings.root
        for name in ("pods", "containers", "logs"):
            shutil.rmtree(root / name, ignore_errors=True)
            (root / name).mkdir(parents=True)
        cgroup.sweep()
        api = Api.from_kubeconfig(settings.kubeconfig)
        images = ImageStore(root / "images", settings.plain_registries, self._talk)
        recorder = Recorder(api, settings.name, self._talk)
        self._server = KubeletServer(
            settings.address, settings.port, self._find_log, settings.client_ca, settings.certificate, self._dial
        )
        self.port = int(self._server.server_address[1])
        identity = Identity(settings.name, settings.address, self.port, settings.resources, settings.kubelet_version)
        self.member = Member(api, identity, settings.timing, images, recorder, self._talk)
        self._node = Surroundings(
            settings.name,
            settings.address,
            api,
            root,
            images,
            recorder,
            settings.timing,
            self._talk,
            self._admit,
            settings.outward,
        )
        seer = Api.from_kubeconfig(settings.proxy_kubeconfig) if settings.proxy_kubeconfig else api
        self._proxy = Proxy(seer, settings.address, self._node.networks, self._talk)
        self._pods = Mirror(api, f"/api/v1/pods?fieldSelector=spec.nodeName={settings.name}", self._changed, self._talk)
        self._workers: dict[str, PodWorker] = {}
        self._lock = threading.Lock()

    def start(self, timeout_s: float = 60) -> None:
        """Registers the node and begins to run pods. Errors: TimeoutError when the API server takes no Node."""
        threading.Thread(target=self._server.serve_forever, daemon=True, name="kubelet server").start()
        self.member.start()
        if not self.member.registered.wait(timeout_s):
            raise TimeoutError(f"the API server has not taken the node {self._settings.name} within {timeout_s:g} s")
        self._pods.start()
        self._proxy.start()

    def stop(self) -> None:
        """Kills what runs here and reports nothing, as when a node loses its power."""
        self._pods.stop()
        self.member.stop()
        with self._lock:
            workers = list(self._workers.values())
        for worker in workers:
            worker.abandon()
        for worker in workers:
            worker.join(20)
        self._proxy.stop()
        self._server.shutdown()
        self._server.server_close()
        self._node.pulls.shutdown(wait=False, cancel_futures=True)
        cgroup.sweep()

    def _changed(self, pod: Json, alive: bool) -> None:
        uid = pod["metadata"]["uid"]
        with self._lock:
            worker = self._workers.get(uid)
            if worker is None and alive:
                worker = self._workers[uid] = PodWorker(self._node, pod, self._gone)
                worker.start()
                worker.wake()
            elif worker is not None and alive:
                worker.update(pod)
            elif worker is not None:
                worker.removed()

    def _gone(self, uid: str) -> None:
        with self._lock:
            self._workers.pop(uid, None)

    def _admit(self, pod: Json) -> tuple[str, str] | None:
        """As a kubelet admits: what the pod requests must be free of what the node has."""
        uid = pod["metadata"]["uid"]
        with self._lock:
            others = [w.pod for key, w in self._workers.items() if key != uid and not w.finished]
        for name in ("cpu", "memory", "nvidia.com/gpu"):
            wanted, used = requested(pod, name), sum((requested(o, name) for o in others), amount(0))
            room = amount(self._settings.resources.get(name, "0"))
            if wanted and used + wanted > room:
                scale = 1000 if name == "cpu" else 1
                numbers = [int(n * scale) for n in (wanted, used, room)]
                text = "requested: {}, used: {}, capacity: {}".format(*numbers)
                return f"OutOf{name}", f"Node didn't have enough resource: {name}, {text}"
        return None

    def _dial(self, namespace: str, pod: str, port: int) -> socket.socket:
        """A connection to a pod's port. Errors: NoLog for a pod that is not here, OSError when nobody listens."""
        with self._lock:
            workers = list(self._workers.values())
        for worker in workers:
            if (worker.pod["metadata"]["namespace"], worker.pod["metadata"]["name"]) == (namespace, pod):
                return worker.connect(port)
        raise NoLog(404, f'pod "{pod}" does not exist')

    def _find_log(self, namespace: str, pod: str, container: str, previous: bool) -> tuple[Path, Callable[[], bool]]:
        with self._lock:
            workers = list(self._workers.values())
        here = [w for w in workers if (w.pod["metadata"]["namespace"], w.pod["metadata"]["name"]) == (namespace, pod)]
        if not here:
            raise NoLog(404, f'pod "{pod}" does not exist')
        found = next((c for c in [*here[-1].main, *here[-1].init] if c.name == container), None)
        if found is None:
            raise NoLog(404, f'container "{container}" not found in pod "{pod}"')
        runs = list(found.state.runs)
        if previous:
            runs = [run for run in runs if run.finished][-1:] if found.state.waiting else runs[:-1]
            if not runs:
                raise NoLog(400, f'previous terminated container "{container}" in pod "{pod}" not found')
        if not runs:
            raise waiting(container, pod, found.state.waiting or "ContainerCreating")
        run = runs[-1]
        return found.log_file(run.number), lambda: bool(run.finished)


def _to_stderr(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} node: {text}\n")
    sys.stderr.flush()
