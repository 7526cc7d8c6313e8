"""The namespace in which a scene of a rollout plays, on a real control plane, and the list of scenes."""

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from normal_form import normalised
from played_kubelet import NODE, Kubelet

from leviathan.cluster.client import Cluster, ClusterError
from leviathan.manifests.rendering import render
from leviathan.rollout.observe.reader import collections
from leviathan.site.schema import Site

FOLDER = Path(__file__).with_name("rollout")
MERGE = "application/merge-patch+json"
Play = Callable[["Bench"], None]
SCENES: dict[str, tuple[Play, tuple[str, ...]]] = {}


def scene(name: str, *settings: str) -> Callable[[Play], Play]:
    """A scene to record, with the site's settings that it needs."""

    def add(play: Play) -> Play:
        SCENES[name] = play, settings
        return play

    return add


class Bench:
    """The namespace in which a scene plays."""

    def __init__(self, cluster: Cluster, site: Site) -> None:
        self.cluster, self.site = cluster, site
        self.core = f"/api/v1/namespaces/{site.cluster.namespace}"
        self.apps = f"/apis/apps/v1/namespaces/{site.cluster.namespace}"
        self.deployment = f"{self.apps}/deployments/{site.workload.deployment}"

    def path(self, each: dict[str, Any]) -> str:
        """The API path of an object of the manifests."""
        kind, name = each["kind"], each["metadata"]["name"]
        plural = f"{kind.lower()}s"
        if kind in ("Namespace", "PersistentVolume"):
            return f"/api/v1/{plural}/{name}"
        return f"{self.apps if kind == 'Deployment' else self.core}/{plural}/{name}"

    def apply(self, *, without: tuple[str, ...] = (), change: Callable[[dict[str, Any]], None] | None = None) -> None:
        """Apply the rendered manifests, but for the kinds `without`; `change` may change each of them first."""
        for each in render(self.site, {}).objects:
            if each["kind"] not in without:
                if change is not None:
                    change(each)
                self.cluster.apply(self.path(each), each, force=True)

    def until(self, what: str, found: Callable[[], Any], seconds: float = 60) -> Any:
        """What `found` gives once that is true."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if result := found():
                return result
            time.sleep(0.2)
        raise SystemExit(f"{what}: not within {seconds} s")

    def pods(self) -> list[dict[str, Any]]:
        """The engine's pods."""
        return self.cluster.list(f"{self.core}/pods", labelSelector=f"app={self.site.workload.app}")

    def pod(self, *, bound: bool = True) -> dict[str, Any]:
        """The engine's newest pod, once it is there and, with `bound`, has a node."""

        def found() -> dict[str, Any] | None:
            pods = sorted(self.pods(), key=lambda pod: pod["metadata"]["creationTimestamp"])
            living = [pod for pod in pods if pod["status"]["phase"] in ("Pending", "Running")]
            return next((pod for pod in reversed(living) if not bound or pod["spec"].get("nodeName")), None)

        result: dict[str, Any] = self.until("the pod", found)
        return result

    def kubelet(self) -> Kubelet:
        """The kubelet for the newest pod, which has just been bound."""
        kubelet = Kubelet(self.cluster, self.pod())
        kubelet.creating()
        return kubelet

    def unschedulable(self) -> None:
        """Wait until the scheduler has said no."""

        def said() -> bool:
            conditions = self.pod(bound=False)["status"].get("conditions") or []
            return any(each["type"] == "PodScheduled" and each["status"] == "False" for each in conditions)

        self.until("the scheduler's no", said)
        self.until("its event", lambda: self.events("FailedScheduling"))

    def events(self, reason: str) -> list[dict[str, Any]]:
        """The events with this reason."""
        return [each for each in self.cluster.list(f"{self.core}/events") if each["reason"] == reason]

    def node(self, patch: dict[str, Any], *, status: bool = False) -> None:
        """Change the node."""
        path = f"/api/v1/nodes/{NODE}{'/status' if status else ''}"
        self.cluster.patch(path, patch, content_type=MERGE)

    def record(self, name: str, settings: tuple[str, ...], start: datetime) -> None:
        """Write what the API answers now about the scene `name`, which began at `start`."""
        found = {}
        for kind, (path, query) in collections(self.site).items():
            found[kind] = self.cluster.list(path, **query)
            for each in found[kind]:
                each["metadata"].pop("managedFields", None)
        version = self.cluster.version()["gitVersion"]
        FOLDER.mkdir(exist_ok=True)
        document = normalised({"server": version, "settings": settings, "collections": found}, start)
        text = json.dumps(document, indent=1)
        (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")

    def clean(self) -> None:
        """Take away what a scene has made."""
        self.node({"spec": {"taints": None, "unschedulable": None}})
        self.cluster.delete(self.deployment, propagationPolicy="Foreground")
        for kind in ("services", "resourcequotas", "limitranges", "persistentvolumeclaims"):
            for each in self._list(f"{self.core}/{kind}"):
                self._gone(f"{self.core}/{kind}/{each['metadata']['name']}")
        ends = time.monotonic() + 60
        while self._list(f"{self.core}/pods") or self._list(f"{self.apps}/replicasets"):
            for pod in self._list(f"{self.core}/pods"):
                path = f"{self.core}/pods/{pod['metadata']['name']}"
                if pod["metadata"].get("finalizers"):
                    self.cluster.patch(path, {"metadata": {"finalizers": None}}, content_type=MERGE)
                self.cluster.delete(path, gracePeriodSeconds=0)
            if time.monotonic() > ends:
                raise SystemExit("the namespace does not get empty")
            time.sleep(0.3)
        for kind in ("persistentvolumes/leviathan-models", "nodes/talos-two"):
            self._gone(f"/api/v1/{kind}")
        if self.cluster.get(self.core) is not None:
            self.cluster.delete(f"{self.core}/events")

    def _list(self, path: str) -> list[dict[str, Any]]:
        return self.cluster.list(path)

    def _gone(self, path: str) -> None:
        try:
            self.cluster.delete(path, gracePeriodSeconds=0)
            found = self.cluster.get(path)
            if found is not None and found["metadata"].get("finalizers"):
                self.cluster.patch(path, {"metadata": {"finalizers": None}}, content_type=MERGE)
        except ClusterError as error:
            if error.status != 404:
                raise
