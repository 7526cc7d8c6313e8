"""A snapshot of a rollout: the objects as the API returns them, and values derived from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from leviathan.cluster.objects import (
    HASH,
    Event,
    Object,
    events,
    has_ended,
    is_ending,
    is_ready,
    name_of,
    owned_by,
    uid_of,
)


@dataclass(frozen=True)
class Health:
    """The answer of /health.

    `status`: HTTP status, None if nothing answered; `body`: the JSON object, empty if there is none; `via`: the route
    ("the NodePort" or "the API server"); `error`: why nothing answered.
    """

    status: int | None
    body: Mapping[str, Any] = field(default_factory=dict)
    via: str = ""
    error: str = ""

    @property
    def ours(self) -> bool:
        """Whether the engine's front end wrote the answer."""
        return "phase" in self.body and "status" in self.body

    @property
    def ok(self) -> bool:
        """Whether the model is loaded and serving."""
        return self.status == 200 and self.ours


@dataclass(frozen=True)
class Snapshot:
    """The state at one moment, with objects as the API returns them.

    `deployment`, `service`, `node`: None if it does not exist. `pods`: all pods with the engine's label.
    `event_objects`: the events of the namespace. `health`: answer at the NodePort; `inner`: answer of the pod, through
    the API server. `now`: seconds since 1970. `unreadable`: kinds that may not be read. `restarts_before`: pod uid →
    restarts before this watch began. `silent_s`: seconds since the API server last answered.
    """

    deployment: Object | None = None
    replica_sets: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    event_objects: tuple[Object, ...] = ()
    node: Object | None = None
    service: Object | None = None
    health: Health | None = None
    inner: Health | None = None
    last_log: str = ""
    now: float = 0.0
    unreadable: frozenset[str] = frozenset()
    restarts_before: Mapping[str, int] = field(default_factory=dict)
    silent_s: float = 0.0

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """All events, oldest first."""
        return tuple(events(self.event_objects))

    @cached_property
    def current(self) -> bool:
        """Whether the deployment controller has seen the newest Deployment."""
        if self.deployment is None:
            return False
        generation = self.deployment["metadata"].get("generation", 0)
        return int(self.deployment.get("status", {}).get("observedGeneration", 0)) >= int(generation)

    @cached_property
    def replica_set(self) -> Object | None:
        """The ReplicaSet of the newest revision: the one with the Deployment's template.

        The revision number is not enough: with Recreate, the new ReplicaSet and its number appear only after the old
        pod has gone. Source: kube-controller-manager, deployment/util FindNewReplicaSet.
        """
        if self.deployment is None or not self.current:
            return None
        wanted = _template(self.deployment)
        same = [each for each in self._replica_sets if _template(each) == wanted]
        return min(same, key=lambda each: each["metadata"]["creationTimestamp"], default=None)

    @cached_property
    def new_pods(self) -> tuple[Object, ...]:
        """The pods of the newest revision: ended pods first, then running ones, the newest at the end."""
        found = [pod for pod in self.pods if self.replica_set is not None and owned_by(pod, self.replica_set)]
        return tuple(
            sorted(
                found, key=lambda pod: (not has_ended(pod), not is_ending(pod), pod["metadata"]["creationTimestamp"])
            )
        )

    @cached_property
    def old_pods(self) -> tuple[Object, ...]:
        """The pods of the Deployment's earlier revisions that have not ended."""
        old = [each for each in self._replica_sets if each is not self.replica_set]
        return tuple(pod for pod in self.pods if not has_ended(pod) and any(owned_by(pod, each) for each in old))

    @cached_property
    def strangers(self) -> tuple[Object, ...]:
        """Pods with the engine's label that do not belong to the Deployment and have not ended."""
        if self.deployment is None:
            return ()
        return tuple(
            pod
            for pod in self.pods
            if not has_ended(pod) and not any(owned_by(pod, each) for each in self._replica_sets)
        )

    @cached_property
    def pod(self) -> Object | None:
        """The pod that the rollout waits for: the newest pod of the newest revision that has not ended."""
        return next((pod for pod in reversed(self.new_pods) if not has_ended(pod) and not is_ending(pod)), None)

    @property
    def ready(self) -> bool:
        """Whether the pod of the newest revision is Ready and no other is left."""
        return self.pod is not None and is_ready(self.pod) and not self.old_pods and self._all_there()

    @property
    def answer(self) -> Health | None:
        """The engine's own answer of /health: from the NodePort, else through the API server."""
        return next((each for each in (self.health, self.inner) if each is not None and each.ours), None)

    def about(self, each: Object | None) -> tuple[Event, ...]:
        """The events about an object, oldest first."""
        return tuple(event for event in self.events if each is not None and event.uid == uid_of(each))

    def last(self, each: Object | None, *reasons: str) -> Event | None:
        """The last event about the object with one of these reasons."""
        return next((event for event in reversed(self.about(each)) if event.reason in reasons), None)

    def restarts(self, pod: Object, count: int) -> int:
        """How many of the `count` restarts happened during this watch."""
        return max(count - self.restarts_before.get(uid_of(pod), 0), 0)

    @cached_property
    def _replica_sets(self) -> tuple[Object, ...]:
        """The Deployment's ReplicaSets."""
        return tuple(
            each for each in self.replica_sets if self.deployment is not None and owned_by(each, self.deployment)
        )

    def _all_there(self) -> bool:
        assert self.deployment is not None
        status = self.deployment.get("status", {})
        wanted = int(self.deployment["spec"].get("replicas", 1))
        counts = (status.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas"))
        return wanted > 0 and all(int(count) == wanted for count in counts)


def _template(each: Object) -> Any:
    """The pod template without the label that the controller adds."""
    template = each["spec"]["template"]
    labels = {key: value for key, value in template["metadata"].get("labels", {}).items() if key != HASH}
    return {**template, "metadata": {**template["metadata"], "labels": labels}}


def title(each: Object) -> str:
    """`pod/NAME`, as an argument of kubectl."""
    return f"{str(each.get('kind', 'pod')).lower()}/{name_of(each)}"
