"""Recorded rollouts as snapshots, and as an API server that replays them."""

import copy
import dataclasses
import json
import socket
from pathlib import Path
from typing import Any

from fakes.replay_api import Answer, ReplayApi

from leviathan.cluster.client import Cluster, RetryPolicy, connect
from leviathan.cluster.objects import events
from leviathan.rollout.observe.reader import assemble, collections
from leviathan.rollout.observe.snapshot import Health, Snapshot
from leviathan.site.load import load
from leviathan.site.schema import Site

FOLDER = Path(__file__).with_name("answers") / "rollout"
SCENES = sorted(path.stem for path in FOLDER.glob("*.json"))
#: /health as the engine's front end answers it while it loads, and when it is ready.
LOADING = {
    "status": "loading",
    "phase": "loading",
    "detail": "",
    "model": "deepseek-v3",
    "layers_loaded": 12,
    "layers": 61,
    "bytes_loaded": 80_000_000_000,
    "bytes": 404_000_000_000,
    "percent": 19.8,
    "seconds": 81.2,
    "estimate_seconds": 329.0,
}
READY = LOADING | {"status": "ok", "phase": "ready", "percent": 100.0, "seconds": 412.5, "estimate_seconds": 0.0}


@dataclasses.dataclass
class Scene:
    """One recording: the site that it was made with, and the collections, which a test may change."""

    site: Site
    found: dict[str, list[dict[str, Any]]]

    def snapshot(self, **more: Any) -> Snapshot:
        """What was recorded, seen at the moment of its last event."""
        found = {kind: tuple(items) for kind, items in self.found.items()}
        now = max((event.when for event in events(found["events"])), default=0.0)
        return dataclasses.replace(assemble(found), **{"now": now, **more})

    @property
    def pod(self) -> dict[str, Any]:
        """The newest pod, to be changed."""
        return max(self.found["pods"], key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def at(self, address: str) -> None:
        """Put the NodePort at `address`, http://HOST:PORT: any port, which the site file would not allow."""
        host, port = address.removeprefix("http://").rsplit(":", 1)
        cluster = dataclasses.replace(self.site.cluster, address=host)
        engine = dataclasses.replace(self.site.engine, node_port=int(port))
        self.site = dataclasses.replace(self.site, cluster=cluster, engine=engine)
        for each in self.found["services"]:
            each["spec"]["ports"][0]["nodePort"] = int(port)

    def serve(self, server: ReplayApi, *, watch_s: float = 1.0) -> None:
        """Let `server` answer lists with what was recorded; watches say nothing and end after `watch_s` seconds."""
        for kind, (path, _) in collections(self.site).items():
            server.add("GET", path, list_answer(kind, self.found[kind]), limit="500")
            server.add("GET", path, Answer(lines=(bookmark(kind),), between_s=watch_s), watch="true")


def scene(name: str) -> Scene:
    """The recording `name`."""
    data = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return Scene(load(settings=data["settings"]).site, copy.deepcopy(data["collections"]))


def list_answer(kind: str, items: list[dict[str, Any]], version: str = "1000") -> Answer:
    """A list of the API."""
    one = {"deployments": "Deployment", "replicasets": "ReplicaSet", "pods": "Pod", "events": "Event"}
    name = one.get(kind, kind.removesuffix("s").capitalize())
    group = "apps/v1" if kind in ("deployments", "replicasets") else "v1"
    body = {"kind": f"{name}List", "apiVersion": group, "metadata": {"resourceVersion": version}, "items": items}
    return Answer(body=body)


def bookmark(kind: str, version: str = "1001") -> dict[str, Any]:
    """A bookmark of a watch."""
    each = {"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": version, "creationTimestamp": None}}
    return {"type": "BOOKMARK", "object": each}


def waits(site: Site, **seconds: float) -> Site:
    """The site with other waits of [rollout]; fractions of seconds, which the site file would not allow."""
    return dataclasses.replace(site, rollout=dataclasses.replace(site.rollout, **seconds))  # type: ignore[arg-type]


def closed_port() -> str:
    """An address on loopback where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def cluster_of(server: ReplayApi, folder: Path, **seconds: float) -> Cluster:
    """A client for the server; `seconds` are those of RetryPolicy."""
    environ = {"KUBECONFIG": str(server.kubeconfig(folder))}
    patience = RetryPolicy(**{"again_s": 30.0, "first_s": 30.0, "pause_s": 0.02, **seconds})
    return Cluster(connect(load().site, environ).transport.api, patience=patience)


def healthy(status: int = 200, body: dict[str, Any] | None = None) -> Health:
    """An answer of the NodePort."""
    return Health(status, READY if body is None else body, "the NodePort")
