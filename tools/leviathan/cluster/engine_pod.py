"""The engine's pod: the one that a log, a status line or a port-forward is about."""

from leviathan.cluster.client import Cluster
from leviathan.cluster.objects import Object, has_ended, is_ending
from leviathan.errors import LeviathanError
from leviathan.site.schema import Site


def find_pod(site: Site, cluster: Cluster) -> Object:
    """The engine's newest pod, a living one before one that has ended. Errors: LeviathanError when there is none."""
    path = f"/api/v1/namespaces/{site.cluster.namespace}/pods"
    pods = cluster.list(path, labelSelector=f"app={site.workload.app}")
    if not pods:
        raise LeviathanError(
            "there is no pod of the engine",
            where=f"namespace {site.cluster.namespace}, label app={site.workload.app}",
            remedy="leviathan status says why; leviathan apply makes it",
        )
    return max(pods, key=lambda pod: (not has_ended(pod), not is_ending(pod), pod["metadata"]["creationTimestamp"]))
