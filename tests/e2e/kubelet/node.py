"""The node itself: containerd, kubelet, device plugin and kube-proxy, started, hurt and ended."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from e2e.control_plane import objects
from e2e.control_plane.part import Part
from e2e.control_plane.plane import ControlPlane
from e2e.control_plane.settings import find_programs
from e2e.node.support import RealRegistry
from e2e.node.tiny_image import busybox_layer, push

from . import network, settings
from .inside import GROUP

GPUS = 2
DEVICE_SOCKET = Path("/var/lib/kubelet/device-plugins/kubelet.sock")
PAUSE = {"Env": ["PATH=/bin"], "Entrypoint": ["/bin/sleep", "1000000"]}


class Kubelet:
    """A node with a real kubelet; `runtime` is its containerd."""

    def __init__(self, runtime: Part) -> None:
        self.runtime = runtime

    @property
    def ancestor(self) -> int:
        """The namespace's first process: a container hangs below a shim, and that below nobody else."""
        return 1

    def not_ready(self) -> None:
        """Stop containerd. Its containers keep running; the kubelet reports NotReady after half a minute."""
        self.runtime.stop()

    def ready(self) -> None:
        """containerd is back."""
        self.runtime.start()


@contextmanager
def join(plane: ControlPlane, registry: RealRegistry, folder: Path, _hub: int) -> Iterator[Kubelet]:
    """A node of `plane` that pulls from `registry` and keeps its files in `folder`; inside it, the node is Ready.

    Errors: ControlPlaneError with the last words of the part that did not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    programs = find_programs(os.environ)
    with ExitStack() as stack:

        def begin(name: str, *argv: str) -> Part:
            part = Part(name, argv, folder)
            part.start()
            stack.callback(part.stop)
            return part

        config = containerd_files(folder / "containerd", registry)
        runtime = begin("containerd", "containerd", "--config", str(config))
        runtime.wait_for("containerd's socket", settings.SOCKET.exists)
        user = f"system:node:{objects.NODE}"
        pair = plane.authority.issue("kubelet", user, ["system:nodes"], [f"IP:{network.ADDRESS}"])
        text = settings.kubelet(folder, os.environ[GROUP], pair, plane.authority.pair.certificate)
        own = ("--config", str(write(folder / "kubelet.json", text)), "--kubeconfig")
        name = ("--hostname-override", objects.NODE, "--node-ip", network.ADDRESS)
        kubelet = begin("kubelet", str(programs.part("kubelet")), *own, str(plane.kubeconfig("kubelet", pair)), *name)
        kubelet.wait_for("the kubelet's socket for devices", DEVICE_SOCKET.exists)
        devices = begin("device-plugin", str(programs.part("device-plugin")), "--count", str(GPUS))
        client = plane.kubeconfig("proxy", plane.authority.issue("proxy", "system:kube-proxy"))
        text = settings.proxy(client)
        begin("kube-proxy", str(programs.part("kube-proxy")), "--config", str(write(folder / "proxy.json", text)))
        kubelet.wait_for("the node Ready", plane.node_is_ready)
        devices.wait_for(f"{GPUS} GPUs on the node", lambda: gpus(plane) == str(GPUS))
        yield Kubelet(runtime)


def containerd_files(folder: Path, registry: RealRegistry) -> Path:
    """Write what containerd reads into `folder`, push the image that holds pods; the configuration's path."""
    for name in ("cni", f"certs/{registry.host}"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "certs" / registry.host / "hosts.toml").write_text(settings.hosts(registry.host), encoding="utf-8")
    write(folder / "cni" / "10-e2e.conflist", settings.cni(folder))
    push(registry.host, "tools/pause", "1", [busybox_layer()], PAUSE)
    config = folder / "config.toml"
    config.write_text(settings.containerd(folder, f"{registry.host}/tools/pause:1"), encoding="utf-8")
    return config


def write(file: Path, value: dict[str, object]) -> Path:
    """The value as JSON in `file`; its path."""
    file.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    return file


def gpus(plane: ControlPlane) -> str:
    """How many GPUs pods may have of the node; "" before the device plugin has said it."""
    node = plane.api.get(f"/api/v1/nodes/{objects.NODE}") or {"status": {}}
    return str(node["status"].get("allocatable", {}).get("nvidia.com/gpu", ""))
