"""One pod on the node, in a thread of its own: from binding to deletion, its status reported after every change."""

import json
import shutil
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from . import status
from .api import ApiError
from .events import rfc3339
from .managed import Managed
from .netns import Network
from .sources import Sources
from .surroundings import Surroundings
from .timing import Backoff
from .volumes import VolumeError, Volumes

Json = dict[str, Any]


class PodWorker(threading.Thread):
    """Brings one pod on until it is gone."""

    def __init__(self, node: Surroundings, pod: Json, gone: Callable[[str], None]) -> None:
        """`gone` is called with the pod's UID when nothing of it is left on the node."""
        meta = pod["metadata"]
        super().__init__(daemon=True, name=f"pod {meta['namespace']}/{meta['name']}")
        self._node, self._pod, self._gone = node, pod, gone
        self._path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
        self._folder = node.root / "pods" / meta["uid"]
        self._woken, self._removed, self._ended = threading.Event(), threading.Event(), threading.Event()
        self._network: Network | None = None
        self._sources: Sources | None = None
        self._volumes: Volumes | None = None
        self._mount_wait, self._mount_at = Backoff(node.timing.mount_base, node.timing.mount_cap, 1e9), 0.0
        self._mounted = False
        self._told = ""
        self._own_conditions: list[Json] = []
        self._phase = str(pod.get("status", {}).get("phase", ""))
        self._start_time = ""
        self._rejected: tuple[str, str] | None = None
        self._admitted = False
        spec = pod["spec"]
        self.init = [Managed(node, pod, c, init=True, wake=self.wake) for c in spec.get("initContainers") or []]
        self.main = [Managed(node, pod, c, init=False, wake=self.wake) for c in spec["containers"]]

    @property
    def pod(self) -> Json:
        """The pod as the API server last had it."""
        return self._pod

    @property
    def finished(self) -> bool:
        """Whether its phase is a last one: it takes no room any more."""
        return self._phase in ("Succeeded", "Failed") or self._rejected is not None

    def wake(self) -> None:
        """Look again now."""
        self._woken.set()

    def connect(self, port: int) -> socket.socket:
        """A connection to a port of the pod. Errors: OSError."""
        if self._network is None:
            raise OSError("the pod has no network yet")
        inner = self._network.socket()
        inner.settimeout(10)
        inner.connect(("127.0.0.1", port))
        inner.settimeout(None)
        return inner

    def update(self, pod: Json) -> None:
        """The pod has changed in the API."""
        self._pod = pod
        self.wake()

    def removed(self) -> None:
        """The pod is gone from the API: forced, or the node was thought dead."""
        self._removed.set()
        self.wake()

    def abandon(self) -> None:
        """The agent ends: kill what runs, report nothing."""
        self._ended.set()
        self._removed.set()
        self.wake()

    def run(self) -> None:
        """Until the pod is gone."""
        while not self._removed.is_set() and "deletionTimestamp" not in self._pod["metadata"]:
            self._woken.wait(self._node.timing.tick)
            self._woken.clear()
            if self._removed.is_set() or "deletionTimestamp" in self._pod["metadata"]:
                break
            try:
                self._sync()
            except (ApiError, OSError) as err:
                self._node.talk(f"{self.name}: {err}; trying again")
            self._publish(ending=False)
        self._terminate()

    def _sync(self) -> None:
        if not self._admitted:
            self._start_time = rfc3339()
            self._rejected = self._node.admit(self._pod)
            self._admitted = True
            if self._rejected:
                self._node.recorder.pod(self._pod, "Warning", *self._rejected)
        if self._rejected:
            return
        if self._network is None:
            self._network = self._node.network(self._pod)
            self._sources = Sources(self._node.api, self._pod, self._network.address, self._node.address)
            self._volumes = Volumes(self._node.api, self._pod, self._folder / "volumes", self._sources)
        if not self._mounted and not self._mount():
            return
        assert self._sources is not None
        assert self._volumes is not None
        for one in self.init:
            one.advance(self._network, self._sources, self._volumes.paths)
            run = one.state.last
            if run is None or not run.finished or run.code != 0:
                return
        for one in self.main:
            one.advance(self._network, self._sources, self._volumes.paths)

    def _mount(self) -> bool:
        assert self._volumes is not None
        now = time.time()
        if now < self._mount_at:
            return False
        try:
            self._volumes.provide()
        except VolumeError as err:
            self._mount_wait.next("", now)
            self._mount_at = now + self._mount_wait.wait("")
            self._node.recorder.pod(self._pod, "Warning", "FailedMount", str(err))
            return False
        self._mounted = True
        return True

    def _status(self, *, ending: bool) -> Json:
        if self._rejected:
            reason, text = self._rejected
            start = {"startTime": self._start_time}
            return {"phase": "Failed", "reason": reason, "message": f"Pod was rejected: {text}", **start}
        initialising = bool(self.init) and not all(i.state.last and i.state.last.finished for i in self.init)
        init = [self._one(m, initialising=initialising, ending=ending) for m in self.init]
        main = [self._one(m, initialising=initialising, ending=ending) for m in self.main]
        phase = status.phase(self._pod, init, main, ending=ending)
        # Those of others as the API has them, ours as they were last taken: their times of change come from there.
        others = self._pod.get("status", {}).get("conditions") or []
        old = self._own_conditions + [c for c in others if c["type"] not in status.OWNED]
        now = {"phase": phase, "sandbox": self._network is not None and not ending}
        address = self._network.address if self._network else ""
        return {
            "phase": phase,
            "conditions": status.conditions(old, self._pod, init, main, now),
            "hostIP": self._node.address,
            "hostIPs": [{"ip": self._node.address}],
            "startTime": self._start_time or None,
            "containerStatuses": main,
            "observedGeneration": self._pod["metadata"].get("generation", 0),
            **({"podIP": address, "podIPs": [{"ip": address}]} if address else {}),
            **({"initContainerStatuses": init} if init else {}),
        }

    def _one(self, one: Managed, *, initialising: bool, ending: bool) -> Json:
        restarts = one.restarts() and not ending
        return status.container_status(one.state, initialising=initialising, restarts=restarts)

    def _publish(self, *, ending: bool) -> bool:
        made = self._status(ending=ending)
        text = json.dumps(made, sort_keys=True)
        if text == self._told:
            return True
        try:
            uid = self._pod["metadata"]["uid"]
            answer = self._node.api.patch(f"{self._path}/status", {"metadata": {"uid": uid}, "status": made})
        except ApiError as err:
            if err.status in (404, 409):
                return True
            self._node.talk(f"{self.name}: the status is not taken: {err}; trying again")
            return False
        self._phase = str(made["phase"])
        taken = answer.get("status", made).get("conditions") or []
        self._own_conditions = [c for c in taken if c["type"] in status.OWNED]
        self._told = json.dumps(self._status(ending=ending), sort_keys=True)
        return True

    def _terminate(self) -> None:
        grace = float(self._pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        everyone = [*self.init, *self.main]
        for one in everyone:
            one.stop_starting()
            one.kill(f"Stopping container {one.name}", 0 if self._ended.is_set() else grace)
        while any(one.running for one in everyone):
            if self._removed.is_set():
                for one in everyone:
                    one.kill_now()
            for one in everyone:
                one.finish()
            self._woken.wait(0.1)
            self._woken.clear()
        self._until_taken(lambda: self._publish(ending=True))
        self._clean()
        self._until_taken(self._delete)
        self._gone(str(self._pod["metadata"]["uid"]))

    def _until_taken(self, send: Callable[[], bool]) -> None:
        """Retry `send` while the API server is away; stop when the API server no longer has the pod."""
        while not self._removed.is_set() and not send():
            self._removed.wait(1)

    def _delete(self) -> bool:
        """The deletion that the API server waits for: nothing of the pod is left on the node."""
        preconditions = {"uid": self._pod["metadata"]["uid"]}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": preconditions}
        try:
            self._node.api.delete(self._path, body)
        except ApiError as err:
            if err.status != 409:
                self._node.talk(f"{self.name}: cannot be deleted: {err}; trying again")
                return False
        return True

    def _clean(self) -> None:
        if self._volumes is not None:
            self._volumes.remove()
        if self._network is not None:
            self._node.release(self._network)
        shutil.rmtree(self._folder, ignore_errors=True)
        for one in self.main[:1]:
            shutil.rmtree(one.log_file(0).parents[1], ignore_errors=True)
