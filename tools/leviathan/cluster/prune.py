"""Finds objects that carry our label but are no longer in the manifests."""

from collections.abc import Callable, Sequence

from leviathan.cluster.client import Cluster, ClusterError
from leviathan.cluster.kinds import KINDS, SELECTOR, Kind, is_ours, more_kinds, path_of
from leviathan.manifests.files import Object


def labelled(cluster: Cluster, namespace: str, say: Callable[[str], None], release: str = "") -> list[Object]:
    """The objects that carry our label and belong to `namespace`, in the order of deleting.

    If the namespace has several releases, returns only the objects of `release`; it is empty for the runbook's release.
    Of objects without a namespace, returns only PersistentVolumes that are claimed from `namespace`, never a Namespace.
    Reports kinds that may not be listed, and skips them.
    Errors: ClusterError.
    """
    found: list[Object] = []
    for kind in reversed(KINDS):
        if kind.name == "Namespace":
            continue
        try:
            each = cluster.list(kind.collection(namespace), labelSelector=SELECTOR)
        except ClusterError as error:
            if error.status != 403 or kind.namespaced:
                raise
            say(f"note: skipping {kind.plural}, because they cannot be listed: {error.why}")
            continue
        found += [item for item in each if is_ours(item, release) and _belongs(kind, item, namespace)]
    for kind in more_kinds(found):
        each = _more(cluster, kind, namespace, say)
        found = [item for item in each if is_ours(item, release)] + found
    return found


def _more(cluster: Cluster, kind: Kind, namespace: str, say: Callable[[str], None]) -> list[Object]:
    """The labelled objects of a further kind; none if its definition no longer exists. Errors: ClusterError."""
    try:
        return cluster.list(kind.collection(namespace), labelSelector=SELECTOR)
    except ClusterError as error:
        if error.status not in (403, 404):
            raise
        say(f"note: skipping {kind.plural}, because they cannot be listed: {error.why}")
        return []


def stale(found: Sequence[Object], wanted: Sequence[Object]) -> list[Object]:
    """Those of `found` that are not among `wanted` and are not already being deleted."""
    paths = {path_of(each) for each in wanted}
    return [each for each in found if path_of(each) not in paths and "deletionTimestamp" not in each["metadata"]]


def _belongs(kind: Kind, each: Object, namespace: str) -> bool:
    if kind.namespaced:
        return True
    claim = each["spec"].get("claimRef") or {}
    return bool(claim.get("namespace") == namespace)
