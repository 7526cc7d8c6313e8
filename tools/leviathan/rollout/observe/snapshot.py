"""One moment of a rollout: the objects as the API has them, and what is read off them."""

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
    """What /health said.

    `status`: HTTP status, None when nothing answered; `body`: its JSON object, empty when it was none of the engine's;
    `via`: the way it was asked ("the NodePort" or "the API server"); `error`: why nothing answered.
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
        """Whether the model answers."""
        return self.status == 200 and self.ours


@dataclass(frozen=True)
class Snapshot:
    """The state at one moment; everything as the API gives it.

    `deployment`, `service`, `node`: None when there is none. `pods`: all that carry the label of the engine.
    `event_objects`: those of the namespace. `health`: asked of the NodePort; `inner`: asked of the pod itself, through
    the API server. `now`: seconds since 1970. `unreadable`: kinds that may not be read. `restarts_before`: pod uid →
    restarts that it had when the watching began. `silent_s`: seconds since the API server last answered.
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

        The revision's number would not do: with Recreate, the new ReplicaSet and the number come when the old pod has
        gone. Source: kube-controller-manager, deployment/util FindNewReplicaSet.
        """
        if self.deployment is None or not self.current:
            return None
        wanted = _template(self.deployment)
        same = [each for each in self._replica_sets if _template(each) == wanted]
        return min(same, key=lambda each: each["metadata"]["creationTimestamp"], default=None)

    @cached_property
    def new_pods(self) -> tuple[Object, ...]:
        """The pods of the newest revision, those that live last, the newest of them at the end."""
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
        """Pods with the engine's label that are not the Deployment's and have not ended."""
        if self.deployment is None:
            return ()
        return tuple(
            pod
            for pod in self.pods
            if not has_ended(pod) and not any(owned_by(pod, each) for each in self._replica_sets)
        )

    @cached_property
    def pod(self) -> Object | None:
        """The pod that the rollout waits for: the newest living one of the newest revision."""
        return next((pod for pod in reversed(self.new_pods) if not has_ended(pod) and not is_ending(pod)), None)

    @property
    def ready(self) -> bool:
        """Whether the pod of the newest revision is Ready and no other is left."""
        return self.pod is not None and is_ready(self.pod) and not self.old_pods and self._all_there()

    @property
    def answer(self) -> Health | None:
        """What the engine itself says of its load: from the NodePort, else through the API server."""
        return next((each for each in (self.health, self.inner) if each is not None and each.ours), None)

    def about(self, each: Object | None) -> tuple[Event, ...]:
        """The events about an object, oldest first."""
        return tuple(event for event in self.events if each is not None and event.uid == uid_of(each))

    def last(self, each: Object | None, *reasons: str) -> Event | None:
        """The last event about the object with one of these reasons."""
        return next((event for event in reversed(self.about(each)) if event.reason in reasons), None)

    def restarts(self, pod: Object, count: int) -> int:
        """Restarts of `count` that came to be while it was watched."""
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
    """The pod template without the label that the controller adds to it."""
    template = each["spec"]["template"]
    labels = {key: value for key, value in template["metadata"].get("labels", {}).items() if key != HASH}
    return {**template, "metadata": {**template["metadata"], "labels": labels}}


def title(each: Object) -> str:
    """`pod/NAME`, as kubectl takes it."""
    return f"{str(each.get('kind', 'pod')).lower()}/{name_of(each)}"
