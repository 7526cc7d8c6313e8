"""Rolls back to an earlier image: that of --to, else the last that passed the smoke test, else the previous one."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from leviathan.cluster.client import MANAGER, Cluster, ClusterError, exits
from leviathan.cluster.managed_fields import applied_fields, extract
from leviathan.errors import ExitCode, UsageError
from leviathan.manifests.files import Object
from leviathan.site.patterns import DIGEST
from leviathan.site.schema import Site
from leviathan.terminal.output import Console

#: The annotation in which the smoke test records the image that passed.
PASSED = "leviathan/passed-digest"
REVISION = "deployment.kubernetes.io/revision"
CONTAINER = "engine"


@dataclass(frozen=True)
class RolledBack:
    """The result of a rollback: the images before and after, and `source`, why the latter was chosen."""

    deployment: str
    before: str
    after: str
    source: str
    dry_run: bool = False

    @property
    def changed(self) -> bool:
        """Whether the image is (would be) different from before."""
        return self.before != self.after

    def text(self) -> str:
        """The image that it rolled back to and why, the image before, and how to keep it."""
        if not self.changed:
            return f"nothing to do: {self.deployment} runs {self.after} ({self.source})"
        digest = self.after.rpartition("@")[2]
        pin = f"\nto keep it at the next apply: --set image.digest={digest}" if "@" in self.after else ""
        return (
            f"{self.deployment} {'would roll' if self.dry_run else 'rolled'} back to {self.after} ({self.source})\n"
            f"from {self.before}{pin}"
        )

    def data(self) -> dict[str, Any]:
        """The result for programs."""
        return {
            "deployment": self.deployment,
            "changed": self.changed,
            "dry_run": self.dry_run,
            "before": self.before,
            "after": self.after,
            "source": self.source,
        }


def run(
    site: Site,
    cluster: Cluster,
    console: Console,
    *,
    to: str = "",
    dry_run: bool = False,
    pullable: Callable[[str], None] = lambda image: None,
) -> RolledBack:
    """Set an earlier image in the Deployment, and change nothing else. Does not wait for the rollout.

    Arguments: `to`, a digest (sha256:...) in the site's repository. If it is empty, chooses the image that last passed
    the smoke test; if none has passed, the image of the newest earlier ReplicaSet that differs. `pullable` is called
    with the image named by `to`, and raises if no pod could pull it.
    Errors: UsageError if `to` is not a digest; ClusterError (exit status APPLY), with the reason NothingBefore if no
    earlier image exists; RegistryError.
    """
    if to and not re.fullmatch(DIGEST, to):
        raise UsageError(
            "--to is not a digest",
            why=f"expected sha256: and 64 hexadecimal digits, got {to!r}",
            remedy="leviathan tags lists the registry's tags",
        )
    namespace, name = site.cluster.namespace, site.workload.deployment
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
    with exits(ExitCode.APPLY):
        live = cluster.get(path)
        if live is None:
            raise ClusterError(
                f"there is no Deployment/{name} in {namespace}",
                remedy="leviathan deploy",
                status=404,
                reason="NotFound",
            )
        before = image_of(live["spec"]["template"])
        if to:
            after, source = f"{site.registry.host}/{site.image.repository}@{to}", "named by --to"
        else:
            after, source = _earlier(cluster, live, before)
        done = RolledBack(f"Deployment/{name}", before, after, source, dry_run)
        if done.changed and to:  # an image that ran here before may be on the node, even if the registry has lost it
            pullable(after)
        if done.changed:
            # Only the image can conflict, because the rest is what we applied last. `force` takes the image over.
            cluster.apply(path, with_image(live, after), force=True, dry_run=dry_run)
    for text in dict.fromkeys(cluster.warnings):
        console.debug(f"warning: {text}")
    return done


def image_of(template: Object) -> str:
    """The engine's image in a pod template."""
    return str(_engine(template)["image"])


def with_image(live: Object, image: str) -> Object:
    """The Deployment as we last applied it, with another image. Applying this changes only the image."""
    mine: Object = extract(live, fields) if (fields := applied_fields(live, MANAGER)) else {}
    meta = {"name": live["metadata"]["name"], "namespace": live["metadata"]["namespace"]}
    body = {**mine, "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {**mine.get("metadata", {}), **meta}}
    pod = body.setdefault("spec", {}).setdefault("template", {}).setdefault("spec", {})
    containers = pod.setdefault("containers", [])
    name = _engine(live["spec"]["template"])["name"]
    for each in containers:
        if each["name"] == name:
            each["image"] = image
            return body
    containers.append({"name": name, "image": image})
    return body


def _engine(template: Object) -> Object:
    """The engine's container in a pod template: the one with its name, else the first."""
    containers: list[Object] = template["spec"]["containers"]
    return next((each for each in containers if each["name"] == CONTAINER), containers[0])


def _earlier(cluster: Cluster, live: Object, before: str) -> tuple[str, str]:
    """The image to roll back to, and why it was chosen."""
    passed = (live["metadata"].get("annotations") or {}).get(PASSED)
    if passed == before:
        return before, "the last image that passed the smoke test; to choose another one: --to DIGEST"
    if passed:
        return passed, "the last image that passed the smoke test"
    uid, namespace = live["metadata"]["uid"], live["metadata"]["namespace"]
    sets = cluster.list(f"/apis/apps/v1/namespaces/{namespace}/replicasets")
    mine = [each for each in sets if any(owner["uid"] == uid for owner in each["metadata"].get("ownerReferences", []))]
    for each in sorted(mine, key=_revision, reverse=True):
        image = image_of(each["spec"]["template"])
        if image != before:
            return image, f"the image of revision {_revision(each)}; no image has passed the smoke test yet"
    raise ClusterError(
        "there is no earlier image to roll back to",
        where=f"Deployment/{live['metadata']['name']}",
        why=f"no image has passed the smoke test, and {_count(mine)} {before}",
        remedy="name an image with --to DIGEST; leviathan tags lists the registry's tags",
        reason="NothingBefore",
    )


def _revision(each: Object) -> int:
    text = (each["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def _count(sets: Sequence[Object]) -> str:
    return "all ReplicaSets have" if len(sets) != 1 else "the only ReplicaSet has"
