"""Brings an earlier image back: the last that passed the smoke test, else the one before, else one that is named."""

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

#: Where the smoke test writes the image that it let pass.
PASSED = "leviathan/passed-digest"
REVISION = "deployment.kubernetes.io/revision"
CONTAINER = "engine"


@dataclass(frozen=True)
class RolledBack:
    """The result of a rollback: the images before and after, and `source`, where the latter was found."""

    deployment: str
    before: str
    after: str
    source: str
    dry_run: bool = False

    @property
    def changed(self) -> bool:
        """Whether another image is (would be) run than before."""
        return self.before != self.after

    def text(self) -> str:
        """Two lines: what it went back to and why, and how it stays so."""
        if not self.changed:
            return f"nothing to do: {self.deployment} runs {self.after} ({self.source})"
        digest = self.after.rpartition("@")[2]
        pin = f"\nso that the next apply keeps it: --set image.digest={digest}" if "@" in self.after else ""
        return (
            f"{self.deployment} {'would go' if self.dry_run else 'goes'} back to {self.after} ({self.source})\n"
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
    """Have the Deployment run an earlier image, and change nothing else in it. Does not wait for the rollout.

    Arguments: `to`, a digest (sha256:...) of the site's repository, or empty: the image that last passed the smoke
    test, where none has, the image of the newest earlier ReplicaSet that differs; `pullable` gets the image that `to`
    names, and raises where no pod could pull it.
    Errors: UsageError for a `to` that is no digest; ClusterError (exit status APPLY), with the reason NothingBefore
    when there is nothing to go back to; RegistryError.
    """
    if to and not re.fullmatch(DIGEST, to):
        raise UsageError(f"not a digest: {to}", why="wants sha256: and 64 hex digits", remedy="leviathan tags")
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
        if done.changed and to:  # what has run here before may lie on the node, wherever it came from
            pullable(after)
        if done.changed:
            # Only the image can be in conflict, as the rest is what we last applied: this is what `force` takes over.
            cluster.apply(path, with_image(live, after), force=True, dry_run=dry_run)
    for text in dict.fromkeys(cluster.warnings):
        console.debug(f"warning: {text}")
    return done


def image_of(template: Object) -> str:
    """The engine's image in a pod template."""
    return str(_engine(template)["image"])


def with_image(live: Object, image: str) -> Object:
    """What we last applied of a Deployment, with another image: applied again, it changes the image alone."""
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
    """The engine's container in a pod template: that of its name, else the first."""
    containers: list[Object] = template["spec"]["containers"]
    return next((each for each in containers if each["name"] == CONTAINER), containers[0])


def _earlier(cluster: Cluster, live: Object, before: str) -> tuple[str, str]:
    """The image to go back to, and where it was found."""
    passed = (live["metadata"].get("annotations") or {}).get(PASSED)
    if passed == before:
        return before, "it is the last that passed the smoke test; another one: --to DIGEST"
    if passed:
        return passed, "the last that passed the smoke test"
    uid, namespace = live["metadata"]["uid"], live["metadata"]["namespace"]
    sets = cluster.list(f"/apis/apps/v1/namespaces/{namespace}/replicasets")
    mine = [each for each in sets if any(owner["uid"] == uid for owner in each["metadata"].get("ownerReferences", []))]
    for each in sorted(mine, key=_revision, reverse=True):
        image = image_of(each["spec"]["template"])
        if image != before:
            return image, f"the image of revision {_revision(each)}; none has passed the smoke test so far"
    raise ClusterError(
        "there is nothing to go back to",
        where=f"Deployment/{live['metadata']['name']}",
        why=f"no smoke test has passed, and {_count(mine)} {before}",
        remedy="name an image with --to DIGEST; what the registry has: leviathan tags",
        reason="NothingBefore",
    )


def _revision(each: Object) -> int:
    text = (each["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def _count(sets: Sequence[Object]) -> str:
    return "no ReplicaSet has anything but" if len(sets) != 1 else "the one ReplicaSet has"
