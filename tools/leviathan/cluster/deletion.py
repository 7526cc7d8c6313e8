"""Takes everything that carries our label out of the cluster, nothing else, and waits until it is gone."""

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

#: Seconds between two looks, and between two lines that say what is still there.
LOOK_S = 1.0
HEARTBEAT_S = 10.0


@dataclass(frozen=True)
class Deleted:
    """The result of a delete: what is gone (in a dry run: would be), and why the namespace stays, if it does."""

    namespace: str
    gone: tuple[str, ...]
    stays: str = ""
    seconds: float = 0.0
    dry_run: bool = False

    @property
    def changed(self) -> bool:
        """Whether the cluster is (would be) different from before."""
        return bool(self.gone)

    def text(self) -> str:
        """One line for each object, and one for the namespace where it stays."""
        word = "would be deleted" if self.dry_run else "deleted"
        lines = [f"{each} {word}" for each in self.gone]
        if self.stays:
            lines.append(f"Namespace/{self.namespace} stays: {self.stays}")
        if not self.gone:
            lines.append(f"nothing to do: nothing of leviathan's is in {self.namespace}")
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
    """Delete what carries our label in the site's namespace, and the namespace if it is ours and has nothing else.

    Dependents (ReplicaSets, pods) go first, so that GPUs and volumes are free when it returns.
    Arguments: `timeout_s`, seconds until everything has to be gone; `dry_run`, only say what would be deleted.
    Errors: ClusterError (exit status APPLY); reason Timeout when something does not go, with what holds it.
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
    """The namespace if it is to be deleted, and why it stays if it does; neither when there is none."""
    name = site.cluster.namespace
    found = cluster.get(f"/api/v1/namespaces/{name}")
    if found is None:
        return None, ""
    if not is_ours(found):
        level = (found["metadata"].get("labels") or {}).get(ENFORCE)
        keeps = (
            f", and keeps {ENFORCE}=privileged (to take it off: {cluster.kubectl} label namespace {name} {ENFORCE}-)"
        )
        return None, f"it was there before and does not carry our label{keeps if level == 'privileged' else ''}"
    if "deletionTimestamp" in found["metadata"]:
        return found, ""
    others = foreign(cluster, name) or _other_releases(cluster, site)
    if others:
        listed = ", ".join(others[:10]) + (f" and {len(others) - 10} more" if len(others) > 10 else "")
        return None, f"others live in it: {listed}"
    return found, ""


def _secrets(cluster: Cluster, site: Site) -> list[Object]:
    """The Secrets that were made for the site: asked for by name, because listing shows every Secret's content."""
    names = [site.api_key_secret] if site.access.api_key is ApiKey.SECRET else []
    names += [site.image.pull_secret] if site.image.make_pull_secret else []
    found = [cluster.get(f"/api/v1/namespaces/{site.cluster.namespace}/secrets/{name}") for name in names]
    return [each for each in found if each is not None and is_ours(each, site.release)]


def _job(cluster: Cluster, site: Site) -> list[Object]:
    """The download's Job, where the site has one."""
    if not site.downloads:
        return []
    path = f"/apis/batch/v1/namespaces/{site.cluster.namespace}/jobs/{job_name(site)}"
    found = cluster.get(path)
    return [found] if found is not None and is_ours(found, site.release) else []


def _other_releases(cluster: Cluster, site: Site) -> list[str]:
    """The Deployments of other releases of ours that live in the namespace."""
    path = f"/apis/apps/v1/namespaces/{site.cluster.namespace}/deployments"
    return [title(each) for each in cluster.list(path, labelSelector=SELECTOR) if not is_ours(each, site.release)]


def _await_gone(cluster: Cluster, console: Console, objects: Sequence[Object], ends: float) -> None:
    """Wait until the objects are gone. An object of the same name that was made anew counts as gone."""
    left = list(objects)
    said = console.clock()
    while True:
        still = []
        for each in left:
            live = cluster.get(path_of(each))
            if live is not None and live["metadata"]["uid"] == each["metadata"]["uid"]:
                still.append(live)
        left = still
        console.status(f"waiting for {', '.join(map(title, left))} to go" if left else "")
        if not left:
            console.clear()
            return
        if console.clock() >= ends:
            raise _stuck(cluster.kubectl, left, _pods(cluster, left))
        if console.clock() - said >= HEARTBEAT_S:
            said = console.clock()
            console.say(f"still there: {', '.join([*map(_holding, left), *_pods(cluster, left)])}")
        cluster.transport.sleep(LOOK_S)


def _holding(each: Object) -> str:
    """An object and what holds it: finalizers, or a namespace's conditions."""
    finalizers = each["metadata"].get("finalizers") or (each.get("spec") or {}).get("finalizers") or []
    said = [
        condition["message"]
        for condition in (each.get("status") or {}).get("conditions") or []
        if each["kind"] == "Namespace" and condition.get("status") == "True"
    ]
    held = ", ".join([*finalizers, *said])
    return f"{title(each)} (held by {held})" if held else title(each)


def _pods(cluster: Cluster, left: Sequence[Object]) -> list[str]:
    """Our pods that hold what is left, each with its node: only the kubelet there can let it go."""
    spaces = sorted({each["metadata"]["namespace"] for each in left if each["metadata"].get("namespace")})
    pods = [
        each for space in spaces for each in cluster.list(f"/api/v1/namespaces/{space}/pods", labelSelector=SELECTOR)
    ]
    return [
        f"{title(each)} (ends on node {each['spec'].get('nodeName', 'none')} since {ends})"
        if (ends := each["metadata"].get("deletionTimestamp"))
        else title(each)
        for each in pods
    ]


def _stuck(kubectl: str, left: Sequence[Object], pods: Sequence[str]) -> ClusterError:
    first = left[0]
    space = f" -n {name}" if (name := first["metadata"].get("namespace")) else ""
    shown = f"pods{space}" if pods else f"{first['kind'].lower()} {first['metadata']['name']}{space}"
    node = f"; is the node up? {kubectl} get nodes" if pods else ""
    return ClusterError(
        "not everything went in time",
        why=f"still there: {', '.join([*map(_holding, left), *pods])}",
        remedy=f"{kubectl} describe {shown}{node}; then leviathan delete again",
        reason="Timeout",
    )
