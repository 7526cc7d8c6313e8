"""Finds objects in a namespace that are not ours, of every kind that the API server knows."""

from collections.abc import Iterator
from typing import Any

from leviathan.cluster.client import Cluster, ClusterError
from leviathan.cluster.kinds import is_ours
from leviathan.manifests.files import Object

#: Objects that Kubernetes creates in every namespace.
GIVEN = frozenset({("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")})
#: Kinds that only describe other objects, and disappear with them.
TELLING = frozenset({"Event", "PodMetrics"})


def foreign(cluster: Cluster, namespace: str) -> list[str]:
    """Objects in `namespace` that neither we nor Kubernetes created, as `Kind/name`; `kind ?` if it cannot be listed.

    Dependents of our objects (ReplicaSets, pods, EndpointSlices) count as ours.
    Errors: ClusterError.
    """
    found: list[str] = []
    ours: set[str] = set()
    items: list[Object] = []
    for path, kind in listable(cluster):
        try:
            items += cluster.list(f"{path[0]}/namespaces/{namespace}/{path[1]}")
        except ClusterError as error:
            if not error.status:
                raise
            if error.status not in (404, 405):
                found.append(f"{kind} ? ({error.reason})")
    for each in items:
        if is_ours(each):
            ours.add(each["metadata"]["uid"])
    for each in _dependents_last(items):
        owners = {owner["uid"] for owner in each["metadata"].get("ownerReferences", [])}
        if each["metadata"]["uid"] in ours or owners & ours:
            ours.add(each["metadata"]["uid"])
        elif (each["kind"], each["metadata"]["name"]) not in GIVEN and each["kind"] not in TELLING:
            found.append(f"{each['kind']}/{each['metadata']['name']}")
    return sorted(set(found))


def listable(cluster: Cluster) -> Iterator[tuple[tuple[str, str], str]]:
    """Every namespaced kind that can be listed: ((prefix, plural), kind). Source: API discovery."""
    yield from _resources(cluster, "/api/v1")
    groups = cluster.get("/apis") or {}
    for group in groups.get("groups", []):
        yield from _resources(cluster, f"/apis/{group['preferredVersion']['groupVersion']}")


def _resources(cluster: Cluster, prefix: str) -> Iterator[tuple[tuple[str, str], str]]:
    try:
        answer: dict[str, Any] = cluster.get(prefix) or {}
    except ClusterError as error:
        if not error.status:
            raise
        yield (prefix, "*"), prefix  # an aggregated API that is down: its objects are unknown
        return
    for each in answer.get("resources", []):
        if each.get("namespaced") and "list" in each.get("verbs", []) and "/" not in each["name"]:
            yield (prefix, each["name"]), each["kind"]


def _dependents_last(items: list[Object]) -> list[Object]:
    """Owners before what they own, as far as both are among the items."""
    by_uid = {each["metadata"]["uid"]: each for each in items}
    done: dict[str, Object] = {}

    def visit(each: Object, above: frozenset[str]) -> None:
        uid = each["metadata"]["uid"]
        if uid in done or uid in above:
            return
        for owner in each["metadata"].get("ownerReferences", []):
            if owner["uid"] in by_uid:
                visit(by_uid[owner["uid"]], above | {uid})
        done[uid] = each

    for each in items:
        visit(each, frozenset())
    return list(done.values())
