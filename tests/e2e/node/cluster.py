"""A real control plane with the agent as its node and a registry: what the tests of the agent ask and wait for."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from e2e.control_plane.api import Json
from e2e.control_plane.argv import Times
from e2e.control_plane.objects import NODE
from e2e.control_plane.plane import ControlPlane
from e2e.control_plane.settings import find_programs

from .handle import NodeProcess, join
from .support import RealRegistry, real_registry, until
from .tiny_image import busybox_layer, push

NAMESPACE = "ai-workloads"
CORE = f"/api/v1/namespaces/{NAMESPACE}"
APPS = f"/apis/apps/v1/namespaces/{NAMESPACE}"
PROBE = {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 2}
SERVE = "mkdir -p /www; echo yes >/www/health; exec httpd -f -p 30000 -h /www"


@dataclass
class Cluster:
    """The control plane, its node, and the registry with the image `box`."""

    plane: ControlPlane
    node: NodeProcess
    registry: RealRegistry
    root: Path
    digest: str

    @property
    def image(self) -> str:
        """busybox, by digest."""
        return f"{self.registry.host}/box@{self.digest}"

    def pod(self, name: str, script: str, container: Json | None = None, **spec: object) -> str:
        """Creates a pod that runs a shell script on our node; returns its name."""
        one = {"name": "main", "image": self.image, "command": ["sh", "-c", script], **(container or {})}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {
                "containers": [one],
                "terminationGracePeriodSeconds": 1,
                "automountServiceAccountToken": False,
                "tolerations": [{"operator": "Exists"}],
                **spec,
            },
        }
        self.plane.api.send("POST", f"{CORE}/pods", body)
        return name

    def volume(self, name: str, device: Path) -> None:
        """A local volume on a device of our node, with a claim of the same name."""
        terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}]}]
        both: Json = {"storageClassName": "", "accessModes": ["ReadWriteOnce"]}
        spec = {
            **both,
            "capacity": {"storage": "1G"},
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": name, "namespace": NAMESPACE},
            "mountOptions": ["ro", "noatime"],
            "local": {"path": str(device), "fsType": "xfs"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
        }
        claim = {**both, "volumeName": name, "resources": {"requests": {"storage": "1G"}}}
        for path, kind, body in (
            ("/api/v1/persistentvolumes", "PersistentVolume", spec),
            (f"{CORE}/persistentvolumeclaims", "PersistentVolumeClaim", claim),
        ):
            self.plane.api.send(
                "POST", path, {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": body}
            )

    def get(self, name: str) -> Json:
        """The pod."""
        return self.plane.api.get(f"{CORE}/pods/{name}") or {}

    def container(self, name: str) -> Json:
        """The status of a pod's only container, {} before there is one."""
        found: list[Json] = self.get(name).get("status", {}).get("containerStatuses") or [{}]
        return found[0]

    def waits(self, name: str, reason: str) -> Json:
        """Until the container waits for that reason; its `waiting`."""

        def found() -> Json:
            waiting: Json = self.container(name).get("state", {}).get("waiting") or {}
            return waiting if waiting.get("reason") == reason else {}

        return until(found, f"{name} to wait with {reason}")

    def ready(self, name: str) -> Json:
        """Until the pod is Ready; the pod."""

        def found() -> Json:
            pod = self.get(name)
            return pod if conditions(pod).get("Ready") == "True" else {}

        return until(found, f"{name} to be ready")

    def events(self, name: str) -> list[tuple[str, str]]:
        """(reason, message) of the pod's events, oldest first."""
        items = (self.plane.api.get(f"{CORE}/events") or {})["items"]
        mine = [e for e in items if e["involvedObject"]["name"] == name and e["source"].get("component") == "kubelet"]
        mine.sort(key=lambda e: (e["firstTimestamp"], int(e["metadata"]["resourceVersion"])))
        return [(e["reason"], e["message"]) for e in mine]

    def log(self, name: str, query: str = "") -> tuple[int, str]:
        """The API server's log subresource: status and text."""
        answer = self.plane.api.call("GET", f"{CORE}/pods/{name}/log?{query}")
        return answer.status, answer.body.decode()

    def delete(self, name: str) -> float:
        """Delete the pod as kubectl does, and wait until it is gone; the seconds that took."""
        began = time.monotonic()
        self.plane.api.call("DELETE", f"{CORE}/pods/{name}")
        until(lambda: not self.get(name), f"{name} to be gone")
        return time.monotonic() - began


def conditions(pod: Json) -> dict[str, str]:
    """Type → status."""
    return {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions") or []}


@contextmanager
def real_cluster(folder: Path) -> Iterator[Cluster]:
    """Starts all of it in `folder`. Errors: ControlPlaneError where Kubernetes' programs are missing."""
    programs = find_programs(os.environ)
    with (
        real_registry(folder / "registry") as registry,
        ControlPlane(programs, folder / "plane", Times(node_grace=8, node_poll=1)) as plane,
        join(plane, folder / "node", "--quick") as node,
    ):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        body["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "privileged"}  # type: ignore[index]
        plane.api.apply(f"/api/v1/namespaces/{NAMESPACE}", body)
        account = f"{CORE}/serviceaccounts/default"
        until(lambda: plane.api.call("GET", account).status == 200, "the namespace's service account")
        digest = push(registry.host, "box", "t", [busybox_layer()], {"Cmd": ["sh"], "Env": ["FROM_IMAGE=yes"]})
        yield Cluster(plane, node, registry, folder, digest)
