"""Plays the kubelet for recordings: writes the pod statuses and events that a kubelet writes, through the real API.

The API server validates and stores them, and the controllers act on them. The shapes and words are those of the kubelet
(pkg/kubelet/status, images/image_manager.go, prober, eviction, lifecycle/predicate.go) and of containerd.
"""

import datetime
from typing import Any

from leviathan.cluster.client import Cluster

NODE = "talos-u8k-rze"
STRATEGIC = "application/strategic-merge-patch+json"
RUNTIME_ID = "containerd://" + "7" * 64


def now(seconds: float = 0) -> str:
    """The time `seconds` from now, as Kubernetes writes it."""
    when = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


class Kubelet:
    """Writes for one pod. Arguments: `cluster`; `pod`, as the API has it; `image`, of its container."""

    def __init__(self, cluster: Cluster, pod: dict[str, Any]) -> None:
        self.cluster = cluster
        self.pod = pod
        self.name = pod["metadata"]["name"]
        self.namespace = pod["metadata"]["namespace"]
        self.image = pod["spec"]["containers"][0]["image"]
        self._count = 0

    def container(
        self, state: dict[str, Any], *, last: dict[str, Any] | None = None, restarts: int = 0, ready: bool = False
    ) -> dict[str, Any]:
        """Write the state of the engine's container, and the pod's conditions that follow from it."""
        runs = "running" in state
        status = {
            "name": "engine",
            "image": self.image,
            "imageID": self.image if runs or last else "",
            "lastState": last or {},
            "ready": ready,
            "restartCount": restarts,
            "started": ready,
            "state": state,
            **({"containerID": RUNTIME_ID} if runs or last else {}),
        }
        unready = {"reason": "ContainersNotReady", "message": "containers with unready status: [engine]"}
        conditions = [
            {"type": "PodReadyToStartContainers", "status": "True" if runs or last else "False"},
            {"type": "Initialized", "status": "True"},
            {"type": "Ready", "status": "True" if ready else "False", **({} if ready else unready)},
            {"type": "ContainersReady", "status": "True" if ready else "False", **({} if ready else unready)},
        ]
        started = runs or bool(last) or "terminated" in state
        return self.status(
            {
                "phase": "Running" if started else "Pending",
                "hostIP": "192.168.3.2",
                "startTime": now(-20),
                "containerStatuses": [status],
                "conditions": [{**each, "lastTransitionTime": now()} for each in conditions],
            }
        )

    def waiting(self, reason: str, message: str = "", **more: Any) -> dict[str, Any]:
        """The container waits."""
        return self.container({"waiting": {"reason": reason, **({"message": message} if message else {})}}, **more)

    def creating(self) -> dict[str, Any]:
        """The container is being made."""
        return self.waiting("ContainerCreating")

    def running(self, **more: Any) -> dict[str, Any]:
        """The container runs."""
        return self.container({"running": {"startedAt": now(-5)}}, **more)

    def crashing(self, ended: dict[str, Any], restarts: int) -> dict[str, Any]:
        """The container has ended as `ended` says, and waits to be started again."""
        pod = f"{self.name}_{self.namespace}({self.pod['metadata']['uid']})"
        text = f"back-off 20s restarting failed container=engine pod={pod}"
        self.event("BackOff", f"Back-off restarting failed container engine in pod {pod}", warning=True)
        return self.waiting("CrashLoopBackOff", text, last={"terminated": ended}, restarts=restarts)

    def status(self, status: dict[str, Any]) -> dict[str, Any]:
        """Write a part of the pod's status."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}/status"
        return self.cluster.patch(path, {"status": status}, content_type=STRATEGIC)

    def event(
        self, reason: str, message: str, *, warning: bool = False, container: bool = True, count: int = 1
    ) -> None:
        """Write an event about the pod."""
        self._count += 1
        about = {"kind": "Pod", "apiVersion": "v1", "namespace": self.namespace, "name": self.name}
        about |= {"uid": self.pod["metadata"]["uid"], "resourceVersion": self.pod["metadata"]["resourceVersion"]}
        self.cluster.create(
            f"/api/v1/namespaces/{self.namespace}/events",
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": f"{self.name}.{self._count:016x}", "namespace": self.namespace},
                "involvedObject": about | ({"fieldPath": "spec.containers{engine}"} if container else {}),
                "reason": reason,
                "message": message,
                "type": "Warning" if warning else "Normal",
                "count": count,
                "firstTimestamp": now(-10),
                "lastTimestamp": now(),
                "source": {"component": "kubelet", "host": NODE},
                "reportingComponent": "kubelet",
                "reportingInstance": NODE,
            },
        )

    def pull_failed(self, message: str) -> dict[str, Any]:
        """The image cannot be pulled, for the reason `message`, and the kubelet waits before it tries again."""
        self.event("Pulling", f'Pulling image "{self.image}"')
        self.event("Failed", f'Failed to pull image "{self.image}": {message}', warning=True)
        self.event("Failed", "Error: ErrImagePull", warning=True)
        self.event("BackOff", f'Back-off pulling image "{self.image}"')
        self.event("Failed", "Error: ImagePullBackOff", warning=True)
        return self.waiting("ImagePullBackOff", f'Back-off pulling image "{self.image}": ErrImagePull: {message}')

    def failed(self, reason: str, message: str, *, condition: dict[str, str] | None = None) -> dict[str, Any]:
        """The pod has been rejected or evicted."""
        more = [{"status": "True", "lastTransitionTime": now(), **condition}] if condition else []
        return self.status({"phase": "Failed", "reason": reason, "message": message, "conditions": more})


def ended(code: int, reason: str, message: str = "") -> dict[str, Any]:
    """A container's end."""
    return {
        "exitCode": code,
        "reason": reason,
        "containerID": RUNTIME_ID,
        "startedAt": now(-60),
        "finishedAt": now(-2),
        **({"message": message} if message else {}),
    }
