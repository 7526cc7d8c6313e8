"""Takes snapshots: a single one, or repeatedly from reflectors that run in threads."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from leviathan.cluster.client import Cluster, ClusterError
from leviathan.cluster.objects import ENGINE, Object, container_of, is_ready, name_of, state_of, uid_of
from leviathan.rollout.observe.health import direct, through_api
from leviathan.rollout.observe.reflector import Reflector
from leviathan.rollout.observe.snapshot import Health, Snapshot
from leviathan.site.schema import Site

#: Seconds between two requests for /health, and between two reads of the end of the log.
HEALTH_S = 2.0
LOG_S = 10.0


def collections(site: Site) -> dict[str, tuple[str, dict[str, Any]]]:
    """The collections to read: plural of the kind → API path and selectors."""
    core = f"/api/v1/namespaces/{site.cluster.namespace}"
    apps = f"/apis/apps/v1/namespaces/{site.cluster.namespace}"
    label = {"labelSelector": f"app={site.workload.app}"}
    return {
        "deployments": (f"{apps}/deployments", {"fieldSelector": f"metadata.name={site.workload.deployment}"}),
        "replicasets": (f"{apps}/replicasets", label),
        "pods": (f"{core}/pods", label),
        "events": (f"{core}/events", {}),
        "services": (f"{core}/services", {"fieldSelector": f"metadata.name={site.workload.service}"}),
        "nodes": ("/api/v1/nodes", nodes(site)),
    }


def nodes(site: Site) -> dict[str, str]:
    """The selector of the nodes that the pod may run on."""
    if site.cluster.node:
        return {"fieldSelector": f"metadata.name={site.cluster.node}"}
    return {"labelSelector": ",".join(site.cluster.node_labels)} if site.cluster.node_labels else {}


def read_once(site: Site, cluster: Cluster) -> Snapshot:
    """A snapshot of the current state.

    Errors: ClusterError if the API cannot be reached. Collections that may not be read are named in the snapshot.
    """
    found: dict[str, tuple[Object, ...]] = {}
    unreadable = set()
    for kind, (path, query) in collections(site).items():
        try:
            found[kind] = tuple(cluster.list(path, **query))
        except ClusterError as error:
            if error.status != 403 or kind == "deployments":
                raise
            found[kind] = ()
            unreadable.add(kind)
    bare = assemble(found, frozenset(unreadable))
    pod = bare.pod
    health = direct(site)
    runs = pod is not None and state_of(container_of(pod))[0] == "running"
    inner = through_api(cluster, site, name_of(pod)) if pod is not None and runs and not health.ours else None
    return assemble(found, frozenset(unreadable), health=health, inner=inner)


class Reader:
    """Reflectors of all collections, and threads that request /health and read the end of the log.

    Arguments: `site`, `cluster`. `changed` is set whenever something may have changed.
    """

    def __init__(self, site: Site, cluster: Cluster) -> None:
        self.site, self.cluster = site, cluster
        self.changed = threading.Event()
        self.stop = threading.Event()
        self.health: Health | None = None
        self.inner: Health | None = None
        self.last_log = ""
        self._restarts: dict[str, int] = {}
        self._feeds = {
            kind: Reflector(cluster, path, query, changed=self.changed.set, stop=self.stop)
            for kind, (path, query) in collections(site).items()
        }

    @contextlib.contextmanager
    def running(self) -> Iterator["Reader"]:
        """Run until the block ends. Errors: ClusterError if the Deployment cannot be read at the start."""
        path, query = collections(self.site)["deployments"]
        self.cluster.list(path, **query)
        try:
            for feed in self._feeds.values():
                feed.start()
            for feed in self._feeds.values():
                feed.listed.wait(self.cluster.transport.patience.first_s)
            for work, period in ((self._ask, HEALTH_S), (self._ask_inside, HEALTH_S), (self._look, LOG_S)):
                threading.Thread(target=self._repeat, args=(work, period), daemon=True).start()
            yield self
        finally:
            self.stop.set()

    def snapshot(self) -> Snapshot:
        """A snapshot of the state as currently known."""
        found = {kind: feed.objects() for kind, feed in self._feeds.items()}
        for pod in found["pods"]:
            container = container_of(pod)
            # If a container is down when it is first seen, it fails now, so its earlier restarts count too.
            count = int(container.get("restartCount", 0)) if state_of(container)[0] == "running" else 0
            self._restarts.setdefault(uid_of(pod), count)
        return assemble(
            found,
            # An object may exist even if its collection has not been listed yet.
            frozenset(kind for kind, feed in self._feeds.items() if feed.forbidden or not feed.listed.is_set()),
            health=self.health,
            inner=self.inner,
            last_log=self.last_log,
            restarts_before=dict(self._restarts),
            silent_s=max(feed.silent_s() for feed in self._feeds.values()),
        )

    def _repeat(self, work: Callable[[], None], period: float) -> None:
        while not self.stop.is_set():
            before = (self.health, self.inner, self.last_log)
            work()
            if before != (self.health, self.inner, self.last_log):
                self.changed.set()
            self.stop.wait(period)

    def _ask(self) -> None:
        self.health = direct(self.site)

    def _ask_inside(self) -> None:
        pod = self.snapshot().pod
        runs = pod is not None and state_of(container_of(pod))[0] == "running"
        outside = self.health is not None and self.health.ours
        self.inner = through_api(self.cluster, self.site, name_of(pod)) if pod and runs and not outside else None

    def _look(self) -> None:
        pod = self.snapshot().pod
        if pod is None or is_ready(pod) or state_of(container_of(pod))[0] != "running":
            return
        with contextlib.suppress(ClusterError):
            lines = self.cluster.log(self.site.cluster.namespace, name_of(pod), container=ENGINE, tail=1, timeout_s=5)
            self.last_log = next(iter(list(lines)[-1:]), self.last_log)


def assemble(
    found: Mapping[str, tuple[Object, ...]], unreadable: frozenset[str] = frozenset(), **more: Any
) -> Snapshot:
    """A Snapshot of the given collections.

    Arguments: `found`, the objects by collection; `unreadable`, collections that may not be read or have not been read
    yet; `more`, further fields of the Snapshot.
    """
    return _at_its_node(
        Snapshot(
            deployment=next(iter(found["deployments"]), None),
            replica_sets=found["replicasets"],
            pods=found["pods"],
            event_objects=found["events"],
            node=next(iter(found["nodes"]), None),
            service=next(iter(found["services"]), None),
            now=time.time(),
            unreadable=unreadable,
            **more,
        ),
        found["nodes"],
    )


def _at_its_node(snapshot: Snapshot, found: tuple[Object, ...]) -> Snapshot:
    """The snapshot with the node that the pod runs on, if several nodes match."""
    name = snapshot.pod["spec"].get("nodeName") if snapshot.pod is not None else None
    mine = next((each for each in found if name_of(each) == name), None)
    return snapshot if mine is None or mine is snapshot.node else replace(snapshot, node=mine)
