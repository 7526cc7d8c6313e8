"""Deletes the objects that carry our label, and waits until they are gone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from leviathan.cluster.client import Cluster, ClusterError, exits
from leviathan.cluster.foreign import foreign
from leviathan.cluster.kinds import SELECTOR, is_ours, path_of, title
from leviathan.cluster.prune import labelled
from leviathan.errors import ExitCode
from leviathan.manifests.download_job import name_of as job_name
from leviathan.manifests.files import Object
from leviathan.manifests.policy import ENFORCE
from leviathan.site.choices import ApiKey
from leviathan.site.schema import Site
from leviathan.terminal.output import Console

#: Seconds between two checks, and between two progress lines.
LOOK_S = 1.0
HEARTBEAT_S = 10.0


@dataclass(frozen=True)
class Deleted:
    """The result of a delete: what was deleted (in a dry run: would be), and why the namespace was kept, if it was."""

    namespace: str
    gone: tuple[str, ...]
    stays: str = ""
    seconds: float = 0.0
    dry_run: bool = False

    @property
    def changed(self) -> bool:
        """Whether the cluster was (would be) changed."""
        return bool(self.gone)

    def text(self) -> str:
        """One line per object, and one for the namespace if it is kept."""
        word = "would be deleted" if self.dry_run else "deleted"
        lines = [f"{each} {word}" for each in self.gone]
        if self.stays:
            lines.append(f"Namespace/{self.namespace} is kept: {self.stays}")
        if not self.gone:
            lines.append(f"nothing to do: {self.namespace} has no objects of leviathan")
        return "\n".join(lines)

    def data(self) -> dict[str, Any]:
        """The result for programs."""
        return {
            "namespace": self.namespace,
            "changed": self.changed,
            "dry_run": self.dry_run,
            "deleted": list(self.gone),
            "namespace_stays": self.stays,
            "seconds": round(self.seconds, 1),
        }


def run(site: Site, cluster: Cluster, console: Console, *, timeout_s: float = 300, dry_run: bool = False) -> Deleted:
    """Delete the objects with our label in the site's namespace, and the namespace if it is ours and otherwise empty.

    Deletes dependents (ReplicaSets, pods) first, so that GPUs and volumes are free when it returns.
    Arguments: `timeout_s`, seconds until everything must be gone; `dry_run`, only report what would be deleted.
    Errors: ClusterError (exit status APPLY); with the reason Timeout and what blocks it, if an object is not deleted.
    """
    start = console.clock()
    with exits(ExitCode.APPLY):
        objects = labelled(cluster, site.cluster.namespace, console.say, site.release)
        objects += _secrets(cluster, site) + _job(cluster, site)
        if not dry_run:
            for each in objects:
                cluster.delete(path_of(each), propagationPolicy="Foreground")
            _await_gone(cluster, console, objects, start + timeout_s)
        namespace, stays = _namespace(cluster, site)
        if namespace is not None:
            objects = [*objects, namespace]
            if not dry_run:
                if "deletionTimestamp" not in namespace["metadata"]:  # else the server answers 409
                    cluster.delete(path_of(namespace))
                _await_gone(cluster, console, [namespace], start + timeout_s)
    gone = tuple(title(each) for each in objects)
    return Deleted(site.cluster.namespace, gone, stays, console.clock() - start, dry_run)


def _namespace(cluster: Cluster, site: Site) -> tuple[Object | None, str]:
    """The namespace if it is to be deleted, or why it is kept; neither if it does not exist."""
    name = site.cluster.namespace
    found = cluster.get(f"/api/v1/namespaces/{name}")
    if found is None:
        return None, ""
    if not is_ours(found):
        level = (found["metadata"].get("labels") or {}).get(ENFORCE)
        keeps = f", and keeps {ENFORCE}=privileged (to remove it: {cluster.kubectl} label namespace {name} {ENFORCE}-)"
        return None, f"leviathan did not create it{keeps if level == 'privileged' else ''}"
    if "deletionTimestamp" in found["metadata"]:
        return found, ""
    others = foreign(cluster, name) or _other_releases(cluster, site)
    if others:
        listed = ", ".join(others[:10]) + (f" and {len(others) - 10} more" if len(others) > 10 else "")
        return None, f"it has other objects: {listed}"
    return found, ""


def _secrets(cluster: Cluster, site: Site) -> list[Object]:
    """The Secrets that we created for the site. Read by name, because listing would show the content of all Secrets."""
    names = [site.api_key_secret] if site.access.api_key is ApiKey.SECRET else []
    names += [site.image.pull_secret] if site.image.make_pull_secret else []
    found = [cluster.get(f"/api/v1/namespaces/{site.cluster.namespace}/secrets/{name}") for name in names]
    return [each for each in found if each is not None and is_ours(each, site.release)]


def _job(cluster: Cluster, site: Site) -> list[Object]:
    """The Job that downloads the model, if the site has one."""
    if not site.downloads:
        return []
    path = f"/apis/batch/v1/namespaces/{site.cluster.namespace}/jobs/{job_name(site)}"
    found = cluster.get(path)
    return [found] if found is not None and is_ours(found, site.release) else []


def _other_releases(cluster: Cluster, site: Site) -> list[str]:
    """The Deployments of our other releases in the namespace."""
    path = f"/apis/apps/v1/namespaces/{site.cluster.namespace}/deployments"
    return [title(each) for each in cluster.list(path, labelSelector=SELECTOR) if not is_ours(each, site.release)]


def _await_gone(cluster: Cluster, console: Console, objects: Sequence[Object], ends: float) -> None:
    """Wait until the objects are gone. If an object was recreated with the same name, the old one counts as gone."""
    left = list(objects)
    said = console.clock()
    while True:
        still = []
        for each in left:
            live = cluster.get(path_of(each))
            if live is not None and live["metadata"]["uid"] == each["metadata"]["uid"]:
                still.append(live)
        left = still
        console.status(f"waiting until {', '.join(map(title, left))} is deleted" if left else "")
        if not left:
            console.clear()
            return
        if console.clock() >= ends:
            raise _stuck(cluster.kubectl, left, _pods(cluster, left))
        if console.clock() - said >= HEARTBEAT_S:
            said = console.clock()
            console.say(f"not deleted yet: {', '.join([*map(_holding, left), *_pods(cluster, left)])}")
        cluster.transport.sleep(LOOK_S)


def _holding(each: Object) -> str:
    """An object and what blocks its deletion: finalizers, or a namespace's conditions."""
    finalizers = each["metadata"].get("finalizers") or (each.get("spec") or {}).get("finalizers") or []
    said = [
        condition["message"]
        for condition in (each.get("status") or {}).get("conditions") or []
        if each["kind"] == "Namespace" and condition.get("status") == "True"
    ]
    held = ", ".join([*finalizers, *said])
    return f"{title(each)} (blocked by {held})" if held else title(each)


def _pods(cluster: Cluster, left: Sequence[Object]) -> list[str]:
    """Our pods that use the remaining objects, each with its node, because only the kubelet there can end it."""
    spaces = sorted({each["metadata"]["namespace"] for each in left if each["metadata"].get("namespace")})
    pods = [
        each for space in spaces for each in cluster.list(f"/api/v1/namespaces/{space}/pods", labelSelector=SELECTOR)
    ]
    return [
        f"{title(each)} (shutting down on node {each['spec'].get('nodeName', 'none')} since {ends})"
        if (ends := each["metadata"].get("deletionTimestamp"))
        else title(each)
        for each in pods
    ]


def _stuck(kubectl: str, left: Sequence[Object], pods: Sequence[str]) -> ClusterError:
    first = left[0]
    space = f" -n {name}" if (name := first["metadata"].get("namespace")) else ""
    shown = f"pods{space}" if pods else f"{first['kind'].lower()} {first['metadata']['name']}{space}"
    node = f"; check that the node is up: {kubectl} get nodes" if pods else ""
    return ClusterError(
        "not all objects were deleted in time",
        why=f"left: {', '.join([*map(_holding, left), *pods])}",
        remedy=f"{kubectl} describe {shown}{node}; then leviathan delete again",
        reason="Timeout",
    )
