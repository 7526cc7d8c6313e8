"""The facts that checks use. Each request is sent once; its answer or error is cached for all checks."""

import dataclasses
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar, cast

from leviathan.cluster.client import Cluster, ClusterError
from leviathan.manifests.files import Object
from leviathan.manifests.rendering import render
from leviathan.preflight.check_result import FactUnavailable
from leviathan.preflight.node_resources import allocatable
from leviathan.site.schema import Site
from leviathan.terminal.output import Console

T = TypeVar("T")
Objects = list[Object]
#: A placeholder digest if there is no image yet, so that the rest of the manifests can be checked.
NO_DIGEST = f"sha256:{'0' * 64}"


class Facts:
    """The facts about a site. Thread-safe.

    Arguments: `connect` creates the Cluster; `header`, a GGUF folder, header dump or model manifest, or None;
    `gpu_memory`, MB of each GPU separated by commas, or empty.
    """

    def __init__(
        self,
        site: Site,
        environ: Mapping[str, str],
        console: Console,
        *,
        connect: Callable[[], Cluster],
        header: Path | None = None,
        gpu_memory: str = "",
    ) -> None:
        self.site = site
        self.environ = environ
        self.console = console
        self.header = header
        self.gpu_memory = gpu_memory
        self._connect = connect
        self._lock = threading.Lock()
        self._answers: dict[str, Future[Any]] = {}

    def once(self, question: str, ask: Callable[[], T]) -> T:
        """The answer to `question`. The first caller runs `ask`; its answer or error is cached."""
        with self._lock:
            mine = question not in self._answers
            answer = self._answers.setdefault(question, Future())
        if mine:
            try:
                answer.set_result(ask())
            except Exception as error:
                answer.set_exception(error)
        return cast(T, answer.result())

    @property
    def connection(self) -> Cluster:
        """The cluster of the kubeconfig, without sending a request yet. Errors: ClusterError."""
        return self.once("connection", self._connect)

    def version(self) -> Object:
        """The answer of /version. Errors: ClusterError, FactUnavailable."""
        try:
            cluster = self.connection
        except ClusterError:
            raise FactUnavailable("the kubeconfig cannot be used") from None
        return self.once("version", cluster.version)

    @property
    def cluster(self) -> Cluster:
        """The cluster, after it has answered once. Errors: FactUnavailable if it does not (check `api`)."""
        try:
            self.version()
        except (ClusterError, FactUnavailable):
            raise FactUnavailable("the API server cannot be reached") from None
        return self.connection

    def get(self, path: str) -> Object | None:
        """The object at an API path, or None. Errors: ClusterError, FactUnavailable."""
        cluster = self.cluster
        return self.once(f"GET {path}", lambda: cluster.get(path))

    def list(self, path: str, **query: str) -> Objects:
        """The objects of a collection. Errors: ClusterError, FactUnavailable."""
        cluster = self.cluster
        return self.once(f"LIST {path} {sorted(query.items())}", lambda: cluster.list(path, **query))

    def node(self) -> Object:
        """The node; if several match, the one with the most GPUs.

        Errors: FactUnavailable if there is none, or it may not be read, which the check `node` reports.
        """
        try:
            name = self.site.cluster.node
            found = self.get(f"/api/v1/nodes/{name}") if name else self._best(self.fitting_nodes())
        except ClusterError:
            raise FactUnavailable("the node cannot be read") from None
        if found is None:
            raise FactUnavailable("the node does not exist")
        return found

    def node_name(self) -> str:
        """The node's name. Errors: as `node`."""
        return self.site.cluster.node or str(self.node()["metadata"]["name"])

    def fitting_nodes(self) -> Objects:
        """The nodes with the labels in cluster.node_labels. Errors: ClusterError, FactUnavailable."""
        labels = ",".join(self.site.cluster.node_labels)
        return self.list("/api/v1/nodes", **({"labelSelector": labels} if labels else {}))

    def _best(self, nodes: Objects) -> Object | None:
        resource = self.site.resources.gpu_resource
        return max(nodes, key=lambda node: allocatable(node, resource) or 0, default=None)

    def pods_on_node(self) -> Objects:
        """The pods that are bound to the node and have not ended. Errors: ClusterError, FactUnavailable."""
        pods = self.list("/api/v1/pods", fieldSelector=f"spec.nodeName={self.node_name()}")
        return [pod for pod in pods if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")]

    def objects(self) -> tuple[Object, ...]:
        """The objects that would be applied; without an image, its digest is all zeros. Errors: RenderError."""
        digest = self.site.image.digest or NO_DIGEST
        site = dataclasses.replace(self.site, image=dataclasses.replace(self.site.image, digest=digest))
        return self.once("objects", lambda: render(site, self.environ).objects)

    def pod_spec(self) -> dict[str, Any]:
        """The pod that would run. Errors: RenderError."""
        deployment = next(each for each in self.objects() if each["kind"] == "Deployment")
        return cast(dict[str, Any], deployment["spec"]["template"]["spec"])
