"""A client for the Kubernetes API that works with plain dicts: reads with retries, server-side apply, watches, logs.

Requests go through the official client's ApiClient, which handles kubeconfig, certificates, tokens and exec plugins.
Its typed models are not used, so an object is exactly what the server sent.
"""

import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from leviathan.cluster.api_errors import refused
from leviathan.cluster.bounds import bad_answer, checked, items
from leviathan.cluster.errors import Cause, ClusterError, exits
from leviathan.cluster.kubeconfig import open_client
from leviathan.cluster.lines import lines
from leviathan.cluster.transport import APPLY, LOG_PATIENCE, RetryPolicy, Transport
from leviathan.proxies import Proxy
from leviathan.site.schema import Site
from leviathan.terminal.output import Console

__all__ = ["LOG_PATIENCE", "MANAGER", "Cause", "Cluster", "ClusterError", "RetryPolicy", "connect", "exits"]

#: Our field manager: what server-side apply records as the owner of the fields that we set.
MANAGER = "leviathan"
#: Objects per page of a list.
PAGE = 500
#: Maximum pages of a list: the largest clusters have 150,000 pods.
PAGES = 1000
JSON = "application/json"

Object = dict[str, Any]
Objects = list[Object]


class Cluster:
    """One API server, seen with one context of the kubeconfig.

    Paths are API paths such as /api/v1/namespaces/ai/pods/x; bodies and results are plain dicts. Every method raises
    ClusterError for what the server refuses, and when it is not reached in time.
    Arguments: as Transport.
    """

    def __init__(
        self,
        api: Any,
        *,
        context: str = "",
        patience: RetryPolicy | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        proxy: Proxy | None = None,
    ) -> None:
        self.context = context
        self.clock = clock
        self.transport = Transport(api, context, patience, clock, sleep, proxy)

    @property
    def server(self) -> str:
        """The address of the API server."""
        return self.transport.server

    @property
    def kubectl(self) -> str:
        """`kubectl` with the same context, to begin a remedy."""
        return self.transport.asked("GET", "/").kubectl

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the server has said in Warning headers so far, in order, each text as often as it was said."""
        return tuple(self.transport.warnings)

    def patient(self, patience: RetryPolicy) -> "Cluster":
        """The same API server, asked with other patience."""
        its = self.transport
        return Cluster(
            its.api, context=self.context, patience=patience, clock=self.clock, sleep=its.sleep, proxy=its.proxy
        )

    def get(self, path: str, **query: Any) -> Object | None:
        """The object at `path`, or None when there is none."""
        try:
            return self._json("GET", path, query)
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    def list(self, path: str, **query: Any) -> Objects:
        """The objects of the collection `path`, all pages, each with its apiVersion and kind."""
        for attempt in range(3):
            try:
                return [item for page, _ in self.pages(path, **query) for item in page]
            except ClusterError as error:
                if error.status != 410 or attempt == 2:
                    raise  # else the pages have expired under way: from the start
        raise AssertionError("unreachable")

    def create(self, path: str, body: Object, **query: Any) -> Object:
        """Create `body` in the collection `path`."""
        return self._json("POST", path, query, body=body)

    def apply(self, path: str, body: Object, *, force: bool = False, dry_run: bool = False) -> Object:
        """Server-side apply of `body` at `path` as the manager `leviathan`; the object as it is (would be) then.

        `force` takes fields over from other managers; without it they are a ClusterError 409 with one cause a field.
        """
        query = {"fieldManager": MANAGER, "force": force, "fieldValidation": "Strict"}
        if dry_run:
            query["dryRun"] = "All"
        return self._json("PATCH", path, query, body=body, content_type=APPLY)

    def patch(self, path: str, body: Any, *, content_type: str, **query: Any) -> Object:
        """Patch the object at `path` with any of Kubernetes' patch types, as the manager `leviathan`."""
        return self._json("PATCH", path, {"fieldManager": MANAGER, **query}, body=body, content_type=content_type)

    def delete(self, path: str, **query: Any) -> Object | None:
        """Delete the object at `path`. Returns the server's answer, or None if there is no such object."""
        try:
            return self._json("DELETE", path, query)
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    def version(self) -> Object:
        """The answer of `/version`: gitVersion, major, minor, platform ..."""
        return self._json("GET", "/version", {})

    def watch(
        self, path: str, *, timeout_s: float, resource_version: str = "", **query: Any
    ) -> Iterator[tuple[str, Object]]:
        """The changes below `path` as (ADDED, MODIFIED, DELETED or BOOKMARK, object).

        Without `resource_version`, it begins with an ADDED for each existing object. It ends after `timeout_s` seconds,
        when the server closes the connection, and when the connection breaks; then watch again. Errors: ClusterError,
        with the reason "Expired" if the server no longer has the version.
        """
        asked = self.transport.asked("GET", path)
        query = {"watch": True, "allowWatchBookmarks": True, "timeoutSeconds": max(int(timeout_s), 1), **query}
        if resource_version:
            query["resourceVersion"] = resource_version
        ends = self.clock() + timeout_s
        answer = self.transport.send("GET", path, query, stream=True, read_s=timeout_s + 5)
        for line in lines(answer):
            if line is None:
                return  # the connection broke
            try:
                event = json.loads(line)
                kind, found = str(event["type"]), event["object"]
            except (ValueError, RecursionError, KeyError, TypeError):
                raise bad_answer(f"expected an event of a watch, got {line[:100]!r}", asked.where) from None
            if kind == "ERROR":
                code = found.get("code") if isinstance(found, dict) else None
                raise refused(asked, code if isinstance(code, int) and code else 500, json.dumps(found))
            yield kind, found if kind == "BOOKMARK" and isinstance(found, dict) else checked(found, asked.where)
            if self.clock() >= ends:
                answer.close()
                return

    def log(
        self,
        namespace: str,
        pod: str,
        *,
        container: str = "",
        follow: bool = False,
        tail: int | None = None,
        previous: bool = False,
        since_s: int | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[str]:
        """The lines of a pod's log, without line ends; undecodable bytes become U+FFFD.

        Arguments: `container`, needed if the pod has several; `follow`, continue until the container ends; `tail`, only
        the last lines; `previous`, the log of the container before the last restart; `since_s`, only the last seconds.
        Errors: ClusterError with the reason Timeout if no byte arrived for `timeout_s` seconds, ConnectionLost if the
        connection broke, BadRequest if the container has not started.
        """
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        given = {"container": container, "tailLines": tail, "sinceSeconds": since_s}
        flags = {"follow": follow, "previous": previous}
        query = {key: value for key, value in given.items() if value not in ("", None)}
        query |= {key: True for key, value in flags.items() if value}
        answer = self.transport.send("GET", path, query, stream=True, read_s=timeout_s)
        asked = self.transport.asked("GET", path)
        for line in lines(answer, timeout_s):
            if line is None:
                raise ClusterError(
                    "the connection broke while reading the log", where=asked.where, reason="ConnectionLost"
                )
            yield line

    def pages(self, path: str, **query: Any) -> Iterator[tuple[Objects, str]]:
        """Each page of a list: its objects and the resource version of the list. Errors: ClusterError."""
        where = self.transport.asked("GET", path).where
        more: dict[str, str] = {}
        for _ in range(PAGES):
            page = self._json("GET", path, {"limit": PAGE, **query, **more})
            metadata = page.get("metadata")
            metadata = metadata if isinstance(metadata, dict) else {}
            yield items(page, where), str(metadata.get("resourceVersion", ""))
            if not metadata.get("continue"):
                return
            more = {"continue": str(metadata["continue"])}
        raise bad_answer(f"the list does not end after {PAGES} pages", where)

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        *,
        body: Any = None,
        content_type: str = "application/json",
    ) -> Object:
        answer = self.transport.send(method, path, query, body=body, content_type=content_type)
        try:
            found = json.loads(answer.data)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise refused(self.transport.asked(method, path), answer.status, answer.data)
        return found


def connect(site: Site, environ: Mapping[str, str]) -> Cluster:
    """A client for the site's cluster: kubeconfig from $KUBECONFIG or ~/.kube/config, context `cluster.context`.

    Sends no request yet. Warnings about the kubeconfig go to stderr, once per process.
    Errors: ClusterError with the reason NoKubeconfig, UnknownContext, BadKubeconfig or BadProxy.
    """
    opened = open_client(site.cluster.context, environ)
    for text in opened.warnings:
        _warn_once(text)
    return Cluster(opened.api, context=opened.context, proxy=opened.proxy)


@functools.cache
def _warn_once(text: str) -> None:
    Console().say(f"warning: {text}")
