"""Records on the Deployment which image has passed, for rollbacks."""

from dataclasses import dataclass
from typing import Any

from leviathan.cluster.client import Cluster
from leviathan.cluster.restore_image import PASSED, image_of
from leviathan.site.schema import Site


@dataclass(frozen=True)
class Deployed:
    """The Deployment: the engine's image, its generation, the image that passed, whether its rollout is complete."""

    image: str
    generation: int
    passed: str
    settled: bool


def path(site: Site) -> str:
    """The API path of the site's Deployment."""
    return f"/apis/apps/v1/namespaces/{site.cluster.namespace}/deployments/{site.workload.deployment}"


def deployed(cluster: Cluster, site: Site) -> Deployed | None:
    """The site's Deployment, or None if it does not exist. Errors: ClusterError."""
    found = cluster.get(path(site))
    if found is None:
        return None
    metadata = found["metadata"]
    return Deployed(
        image=image_of(found["spec"]["template"]),
        generation=metadata.get("generation", 0),
        passed=(metadata.get("annotations") or {}).get(PASSED, ""),
        settled=_settled(found),
    )


def reason_against(before: Deployed | None, after: Deployed | None) -> str:
    """Why the test may not have been about the Deployment's image; empty if it was.

    Arguments: the Deployment `before` and `after` the checks.
    """
    if before is None or after is None:
        return "there is no Deployment"
    if (before.image, before.generation) != (after.image, after.generation):
        return "the Deployment was changed during the test"
    if not (before.settled and after.settled):
        return "the Deployment is still rolling out (leviathan rollout)"
    if "@sha256:" not in after.image:
        return f"its image is not pinned by digest: {after.image}"
    return ""


def note(cluster: Cluster, site: Site, image: str) -> None:
    """Write `image` into the annotation. Errors: ClusterError."""
    body = {"metadata": {"annotations": {PASSED: image}}}
    cluster.patch(path(site), body, content_type="application/merge-patch+json")


def _settled(found: dict[str, Any]) -> bool:
    """Whether only the newest pods exist, and all are available. Source: `kubectl rollout status` for a Deployment."""
    status, wanted = found.get("status") or {}, found["spec"].get("replicas", 1)
    counts = (status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas"))
    return (
        status.get("observedGeneration", 0) >= found["metadata"].get("generation", 0)
        and wanted > 0
        and all(count == wanted for count in counts)
    )
