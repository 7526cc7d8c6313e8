"""Keeps a local copy of an API collection up to date: lists it, watches it, and lists it again when the watch ends.

A watch ends after `WATCH_S`, when the API server closes it or restarts, and when its version has expired (410). In each
case a new list follows. So a change is seen within seconds, or within about `WATCH_S` if the connection died silently.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from leviathan.cluster.client import Cluster, ClusterError
from leviathan.cluster.objects import Object, uid_of

#: Seconds of one watch.
WATCH_S = 15.0
#: Seconds between two attempts while the API server refuses requests or cannot be reached.
PAUSE_S = 1.0


class Reflector:
    """One collection.

    Arguments: `cluster`; `path` of the collection; `query`, its selectors; `changed`, called after each change, from
    another thread; `stop` ends it; `clock`, in seconds, monotonic.
    """

    def __init__(
        self,
        cluster: Cluster,
        path: str,
        query: Mapping[str, Any],
        *,
        changed: Callable[[], None],
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.cluster, self.path, self.query = cluster, path, dict(query)
        self.forbidden = False
        self.listed = threading.Event()
        self._changed, self._stop, self._clock = changed, stop, clock
        self._objects: dict[str, Object] = {}
        self._lock = threading.Lock()
        self._asking_since: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"feed {path}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def objects(self) -> tuple[Object, ...]:
        """The objects as currently known."""
        with self._lock:
            return tuple(self._objects.values())

    def silent_s(self) -> float:
        """Seconds since the pending list was requested; 0 if no list is pending."""
        since = self._asking_since
        return 0.0 if since is None else self._clock() - since

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._watch(self._list())
            except ClusterError as error:
                self.forbidden = error.status in (401, 403)
                if self.forbidden:
                    self._asking_since = None
                    self.listed.set()
                    self._changed()
                if error.status != 410:
                    self._stop.wait(PAUSE_S)

    def _list(self) -> str:
        """List page by page, and return the version to watch from."""
        if self._asking_since is None:
            self._asking_since = self._clock()
        found: dict[str, Object] = {}
        version = ""
        for page, version in self.cluster.pages(self.path, **self.query):  # noqa: B007 - that of the last page counts
            found |= {uid_of(item): item for item in page}
        with self._lock:
            self._objects = found
        self._asking_since, self.forbidden = None, False
        self.listed.set()
        self._changed()
        return version

    def _watch(self, version: str) -> None:
        began = self._clock()
        for kind, each in self.cluster.watch(self.path, timeout_s=WATCH_S, resource_version=version, **self.query):
            if self._stop.is_set():
                return
            if kind == "BOOKMARK":
                continue
            with self._lock:
                if kind == "DELETED":
                    self._objects.pop(uid_of(each), None)
                else:
                    self._objects[uid_of(each)] = each
            self._changed()
        if self._clock() - began < PAUSE_S:
            self._stop.wait(PAUSE_S)  # the server closed it at once: do not retry in a tight loop
