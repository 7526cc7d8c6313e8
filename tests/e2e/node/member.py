"""The node in the cluster: registered, its Lease renewed, its conditions reported, and able to be not ready.

Source: pkg/kubelet/nodestatus/setters.go and pkg/kubelet/kubelet_node_status.go of Kubernetes 1.34.
"""

import datetime
import platform
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import RUNTIME, VERSION
from .api import Api, ApiError
from .events import Recorder, rfc3339
from .images import ImageStore
from .timing import Timing

Json = dict[str, Any]
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
PRESSURES = {
    "MemoryPressure": ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
}
READY = ("True", "KubeletReady", "kubelet is posting ready status")
NOT_READY = (
    "False",
    "KubeletNotReady",
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:told so by the test",
)


@dataclass(frozen=True)
class Identity:
    """The node as it presents itself; `resources` is both capacity and allocatable, as Kubernetes quantities."""

    name: str
    address: str
    port: int
    resources: dict[str, str]
    kubelet_version: str


class Member(threading.Thread):
    """Keeps the Node object and its Lease, until stopped."""

    def __init__(
        self,
        api: Api,
        identity: Identity,
        timing: Timing,
        images: ImageStore,
        recorder: Recorder,
        talk: Callable[[str], None],
    ) -> None:
        """Nothing is registered before `start`."""
        super().__init__(daemon=True, name="node status")
        self._api, self._me, self._timing, self._images = api, identity, timing, images
        self._recorder, self._talk = recorder, talk
        self._ended, self._woken = threading.Event(), threading.Event()
        self._ready, self._silent, self._reported = True, False, 0.0
        self._since = {"Ready": rfc3339()}
        self.registered = threading.Event()
        self.uid = ""

    def run(self) -> None:
        """Register, then renew the lease and report, again and again."""
        while not self._ended.is_set():
            if not self._silent:
                try:
                    if not self.registered.is_set():
                        self._register()
                    self._renew()
                    if time.monotonic() - self._reported >= self._timing.status:
                        self._report()
                except ApiError as err:
                    self._talk(f"the node's status is not taken: {err}; trying again")
            self._woken.wait(self._timing.heartbeat)
            self._woken.clear()

    def stop(self) -> None:
        """No more heartbeats; the Node object stays, as when a kubelet ends."""
        self._ended.set()
        self._woken.set()

    def ready(self) -> None:
        """Say Ready, and speak again."""
        self._change(ready=True, silent=False)

    def not_ready(self) -> None:
        """Say NotReady at once; heartbeats continue. A kubelet whose network plug-in is down does this."""
        self._change(ready=False, silent=False)

    def silent(self) -> None:
        """Say nothing any more: what the cluster sees of a node without power. Pods keep running."""
        self._change(ready=self._ready, silent=True)

    def _change(self, *, ready: bool, silent: bool) -> None:
        if ready != self._ready:
            self._since["Ready"] = rfc3339()
            self._recorder.node("Normal", *_said(self._me.name, ready=ready))
        self._ready, self._silent, self._reported = ready, silent, 0.0
        self._woken.set()

    def _register(self) -> None:
        name = self._me.name
        found = self._api.get(f"/api/v1/nodes/{name}")
        labels = {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            "beta.kubernetes.io/os": "linux",
            "beta.kubernetes.io/arch": "amd64",
        }
        if found is None:
            body = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}
            found = self._api.create("/api/v1/nodes", body)
        else:
            self._api.patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": labels}})
        self.uid = str(found["metadata"]["uid"])
        self._report()
        self._recorder.node("Normal", "Starting", "Starting kubelet.")
        self.registered.set()

    def _renew(self) -> None:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": self._me.name, "leaseDurationSeconds": self._timing.lease, "renewTime": now}
        try:
            self._api.patch(f"{LEASES}/{self._me.name}", {"spec": spec})
        except ApiError as err:
            if err.status != 404:
                raise
            owner = {"apiVersion": "v1", "kind": "Node", "name": self._me.name, "uid": self.uid}
            meta = {"name": self._me.name, "namespace": "kube-node-lease", "ownerReferences": [owner]}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
            self._api.create(LEASES, lease)

    def _report(self) -> None:
        self._api.patch(f"/api/v1/nodes/{self._me.name}/status", {"status": self._status()})
        self._reported = time.monotonic()

    def _status(self) -> Json:
        now = rfc3339()
        chosen = {kind: ("False", *words) for kind, words in PRESSURES.items()}
        chosen["Ready"] = READY if self._ready else NOT_READY
        conditions = [
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": now,
                "lastTransitionTime": self._since.setdefault(kind, now),
            }
            for kind, (status, reason, message) in chosen.items()
        ]
        return {
            "capacity": self._me.resources,
            "allocatable": self._me.resources,
            "conditions": conditions,
            "addresses": [
                {"type": "InternalIP", "address": self._me.address},
                {"type": "Hostname", "address": self._me.name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._me.port}},
            "nodeInfo": {
                "architecture": "amd64",
                "operatingSystem": "linux",
                "bootID": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
                "machineID": uuid.uuid5(uuid.NAMESPACE_DNS, self._me.name).hex,
                "systemUUID": str(uuid.uuid5(uuid.NAMESPACE_DNS, self._me.name)),
                "kernelVersion": platform.release(),
                "osImage": f"the test machine {socket.gethostname()}",
                "containerRuntimeVersion": f"{RUNTIME}://{VERSION}",
                "kubeletVersion": self._me.kubelet_version,
                "kubeProxyVersion": "",
            },
            "images": [
                {"names": [i.name, f"{i.name.partition('@')[0]}@{i.digest}"], "sizeBytes": i.size}
                for i in self._images.all()
            ],
        }


def _said(name: str, *, ready: bool) -> tuple[str, str]:
    reason = "NodeReady" if ready else "NodeNotReady"
    return reason, f"Node {name} status is now: {reason}"
