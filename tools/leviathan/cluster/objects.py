"""Reads fields of Kubernetes objects, which are plain dicts: owners, conditions, container states, events.

Source of the shapes: Kubernetes API reference, Pod v1, Event v1, Deployment v1 (apps).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

#: A Kubernetes object as JSON.
Object = dict[str, Any]
#: The name of the engine's container in the manifests.
ENGINE = "engine"
REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"


def name_of(each: Object) -> str:
    """The object's name."""
    return str(each["metadata"]["name"])


def uid_of(each: Object) -> str:
    """The object's uid. A recreated pod has a different one."""
    return str(each["metadata"].get("uid", ""))


def owned_by(each: Object, owner: Object) -> bool:
    """Whether `owner` is the controller of the object."""
    references = each["metadata"].get("ownerReferences", [])
    return any(entry.get("uid") == uid_of(owner) and entry.get("controller") for entry in references)


def revision_of(each: Object) -> str:
    """The revision that the deployment controller wrote on a Deployment or ReplicaSet, or empty."""
    return str(each["metadata"].get("annotations", {}).get(REVISION, ""))


def condition(each: Object, kind: str) -> Mapping[str, Any]:
    """The condition of this type, empty when there is none."""
    found: Iterable[Mapping[str, Any]] = each.get("status", {}).get("conditions") or ()
    return next((entry for entry in found if entry.get("type") == kind), {})


def is_true(each: Object, kind: str) -> bool:
    """Whether the condition of this type is True."""
    return condition(each, kind).get("status") == "True"


def container_of(pod: Object) -> Mapping[str, Any]:
    """The status of the engine's container; empty if the kubelet has not written it yet."""
    statuses: list[Mapping[str, Any]] = pod.get("status", {}).get("containerStatuses") or []
    return next((entry for entry in statuses if entry.get("name") == ENGINE), statuses[0] if statuses else {})


def state_of(container: Mapping[str, Any], which: str = "state") -> tuple[str, Mapping[str, Any]]:
    """The `state` or `lastState` of a container: (waiting, running or terminated, its fields); ("", {}) for none."""
    found: Mapping[str, Mapping[str, Any]] = container.get(which) or {}
    return next(((kind, fields or {}) for kind, fields in found.items()), ("", {}))


def is_ending(pod: Object) -> bool:
    """Whether the pod is being deleted."""
    return "deletionTimestamp" in pod["metadata"]


def has_ended(pod: Object) -> bool:
    """Whether all containers have ended and will not be restarted."""
    return pod.get("status", {}).get("phase") in ("Failed", "Succeeded")


def is_ready(pod: Object) -> bool:
    """Whether the pod is Ready and is not being deleted."""
    return is_true(pod, "Ready") and not is_ending(pod)


def seconds_of(text: str | None) -> float:
    """A Kubernetes time (RFC 3339, with or without fractions) as seconds since 1970; 0.0 for none."""
    if not text:
        return 0.0
    return datetime.fromisoformat(text).timestamp()


@dataclass(frozen=True)
class Event:
    """One event: `kind` and `name` of the object that it is about, `uid` of it, `when` in seconds since 1970."""

    reason: str
    message: str
    warning: bool
    kind: str
    name: str
    uid: str
    when: float
    count: int


def events(objects: Iterable[Object]) -> Iterator[Event]:
    """The events of Event objects, oldest first.

    The scheduler writes events.k8s.io/v1 (eventTime, series), the kubelet v1 (lastTimestamp, count); both are seen
    below /api/v1.
    """
    found = []
    for each in objects:
        about, series = each.get("involvedObject") or each.get("regarding") or {}, each.get("series") or {}
        times = (
            series.get("lastObservedTime"),
            each.get("lastTimestamp"),
            each.get("eventTime"),
            each.get("firstTimestamp"),
            each["metadata"].get("creationTimestamp"),
        )
        found.append(
            Event(
                reason=str(each.get("reason") or ""),
                message=str(each.get("message") or each.get("note") or "").strip(),
                warning=each.get("type") == "Warning",
                kind=str(about.get("kind", "")),
                name=str(about.get("name", "")),
                uid=str(about.get("uid", "")),
                when=seconds_of(next((time for time in times if time), None)),
                count=int(series.get("count") or each.get("count") or 1),
            )
        )
    return iter(sorted(found, key=lambda event: event.when))
