"""Finds the engine's pod, for logs, status and port-forwards."""

from leviathan.cluster.client import Cluster
from leviathan.cluster.objects import Object, has_ended, is_ending
from leviathan.errors import LeviathanError
from leviathan.site.schema import Site


def find_pod(site: Site, cluster: Cluster) -> Object:
    """The engine's newest pod; a running pod is preferred to one that has ended. Errors: LeviathanError if none."""
    path = f"/api/v1/namespaces/{site.cluster.namespace}/pods"
    pods = cluster.list(path, labelSelector=f"app={site.workload.app}")
    if not pods:
        raise LeviathanError(
            "the engine has no pod",
            where=f"namespace {site.cluster.namespace}, label app={site.workload.app}",
            remedy="leviathan status shows why; leviathan apply creates it",
        )
    return max(pods, key=lambda pod: (not has_ended(pod), not is_ending(pod), pod["metadata"]["creationTimestamp"]))
