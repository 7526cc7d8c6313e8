"""Events about pods and nodes, with kubelet's counting: the same message again raises the count of the same event."""

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

from .api import Api, ApiError

Json = dict[str, Any]


def rfc3339(when: float | None = None) -> str:
    """Seconds since 1970 as Kubernetes' Time: UTC, whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))


class Recorder:
    """Writes core/v1 events in the name of the node's kubelet."""

    def __init__(self, api: Api, node: str, talk: Callable[[str], None]) -> None:
        """`talk` hears of events that could not be written; they are lost, as in a kubelet."""
        self._api, self._node, self._talk = api, node, talk
        self._seen: dict[tuple[str, ...], tuple[str, int]] = {}
        self._lock = threading.Lock()

    def pod(self, pod: Json, kind: str, reason: str, message: str, container: str = "", *, init: bool = False) -> None:
        """An event about a pod, or one of its containers. `kind` is Normal or Warning."""
        meta = pod["metadata"]
        field = f"spec.{'initContainers' if init else 'containers'}{{{container}}}" if container else ""
        self._record(_reference("Pod", meta["name"], meta["uid"], meta["namespace"], field), kind, reason, message)

    def node(self, kind: str, reason: str, message: str) -> None:
        """An event about the node; they live in the namespace `default`."""
        self._record(_reference("Node", self._node, self._node, "", ""), kind, reason, message)

    def _record(self, about: Json, kind: str, reason: str, message: str) -> None:
        key = (about["uid"], about.get("fieldPath", ""), kind, reason, message)
        namespace = about.get("namespace") or "default"
        path = f"/api/v1/namespaces/{namespace}/events"
        with self._lock:
            name, count = self._seen.get(key, ("", 0))
        now = rfc3339()
        try:
            if count:
                try:
                    self._api.patch(f"{path}/{name}", {"count": count + 1, "lastTimestamp": now})
                except ApiError as err:
                    if err.status != 404:
                        raise
                    count = 0  # it has expired
            if not count:
                name = f"{about['name']}.{uuid.uuid4().hex[:16]}"
                source = {"component": "kubelet", "host": self._node}
                self._api.create(
                    path,
                    {
                        "apiVersion": "v1",
                        "kind": "Event",
                        "metadata": {"name": name, "namespace": namespace},
                        "involvedObject": about,
                        "type": kind,
                        "reason": reason,
                        "message": message[:1024],
                        "source": source,
                        "firstTimestamp": now,
                        "lastTimestamp": now,
                        "count": 1,
                        "reportingComponent": "kubelet",
                        "reportingInstance": self._node,
                    },
                )
        except ApiError as err:
            self._talk(f"event {reason} of {about['name']} is lost: {err}")
            return
        with self._lock:
            self._seen[key] = (name, count + 1)


def _reference(kind: str, name: str, uid: str, namespace: str, field: str) -> Json:
    about = {"kind": kind, "apiVersion": "v1", "name": name, "uid": uid}
    return about | ({"namespace": namespace} if namespace else {}) | ({"fieldPath": field} if field else {})
