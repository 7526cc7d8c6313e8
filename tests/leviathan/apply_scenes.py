"""The scenes of apply, diff, delete and rollback: how a cluster gets there, and what is then done to it.

`answers/record_apply.py` plays them against a real API server and records what it answers; the tests play `act` again
against the recording. A scene's namespace is `lab-NAME`; `prepare` is never recorded.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from leviathan.cluster import deletion, live_diff, restore_image, server_side_apply
from leviathan.cluster.client import Cluster, ClusterError
from leviathan.cluster.podcheck import check_pod
from leviathan.manifests.policy import ENFORCE
from leviathan.manifests.rendering import render
from leviathan.site.choices import Variant
from leviathan.site.load import load
from leviathan.site.schema import Site
from leviathan.terminal.output import Console

ONE, TWO, THREE = (f"sha256:{digit * 64}" for digit in "123")
MERGE = "application/merge-patch+json"
ENVIRON: Mapping[str, str] = {"LEVIATHAN_MANIFESTS": str(Path(__file__).parents[2] / "manifests")}
LABEL = {"app.kubernetes.io/managed-by": "leviathan"}


class Clock:
    """Seconds that pass only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass(frozen=True)
class Play:
    """One playing of a scene: a site, a cluster, and a console whose talk is in `talk`."""

    site: Site
    cluster: Cluster
    console: Console
    talk: io.StringIO

    def apply(self, site: Site | None = None, **given: Any) -> server_side_apply.Applied:
        return server_side_apply.run(site or self.site, self.cluster, self.console, environ=ENVIRON, **given)

    def diff(self, site: Site | None = None) -> live_diff.Differences:
        return live_diff.run(site or self.site, self.cluster, self.console, environ=ENVIRON)

    def delete(self, **given: Any) -> deletion.Deleted:
        return deletion.run(self.site, self.cluster, self.console, **given)

    def rollback(self, **given: Any) -> restore_image.RolledBack:
        return restore_image.run(self.site, self.cluster, self.console, **given)

    @property
    def core(self) -> str:
        """The API path of the scene's namespace."""
        return f"/api/v1/namespaces/{self.site.cluster.namespace}"

    @property
    def deployment(self) -> str:
        return f"/apis/apps/v1/namespaces/{self.site.cluster.namespace}/deployments/cortex-leviathan"


@dataclass(frozen=True)
class Scene:
    """`act`'s result has .text(); `user` is the kubeconfig that is used for it."""

    prepare: Callable[[Play], object]
    act: Callable[[Play], Any]
    user: str = "admin"


def play(scene: str, cluster: Cluster, clock: Clock | None = None) -> Play:
    """A playing of a scene with its own namespace and port; `clock` for replays, else time passes."""
    place = list(SCENES).index(scene)
    base = load(None, environ={}, settings=(), named={}).site
    site = replace(
        base,
        image=replace(base.image, digest=ONE),
        # No such node: its pods stay without one, and go at once when they are deleted.
        cluster=replace(base.cluster, namespace=f"lab-{scene}", node="node-of-nobody"),
        engine=replace(base.engine, node_port=31000 + place),
    )
    talk = io.StringIO()
    return Play(site, cluster, Console(talk, clock=clock) if clock else Console(talk), talk)


def shown(playing: Play, scene: str) -> str:
    """What a scene says, result and talk, or the error."""
    try:
        result = SCENES[scene].act(playing).text()
    except ClusterError as error:
        result = f"exit {int(error.exit_code)}: {error.line()}"
    return f"{result}\n--- talk\n{playing.talk.getvalue()}".replace(playing.cluster.server, "https://SERVER")


def image(site: Site, digest: str) -> Site:
    return replace(site, image=replace(site.image, digest=digest))


def nothing(p: Play) -> None:
    """An empty cluster."""


def applied(p: Play) -> None:
    p.apply()


def twice(p: Play) -> None:
    p.apply()
    p.apply(image(p.site, TWO))


def space(p: Play, **labels: str) -> None:
    meta = {"name": p.site.cluster.namespace, "labels": labels}
    p.cluster.create("/api/v1/namespaces", {"metadata": meta}, fieldManager="somebody")


def in_anothers_namespace(p: Play) -> None:
    space(p)
    p.apply()


def edited(p: Play) -> None:
    """Somebody has set another image and two replicas by hand."""
    p.apply()
    containers = [{"name": "engine", "image": "elsewhere:1"}]
    body = {"spec": {"replicas": 2, "template": {"spec": {"containers": containers}}}}
    p.cluster.patch(
        p.deployment, body, content_type="application/strategic-merge-patch+json", fieldManager="kubectl-edit"
    )


def by_kubectl(p: Play) -> None:
    """The runbook's own manifest is there, with nodeName and bash."""
    space(p, **{ENFORCE: "privileged"})
    app = {"app": "leviathan-671b"}
    container = {"name": "engine", "image": "engine:old", "command": ["/bin/bash", "-c"], "args": ["sleep 1"]}
    template = {"metadata": {"labels": app}, "spec": {"nodeName": "node-of-nobody", "containers": [container]}}
    spec = {"replicas": 0, "strategy": {"type": "Recreate"}, "selector": {"matchLabels": app}, "template": template}
    body = {"metadata": {"name": "cortex-leviathan", "labels": app}, "spec": spec}
    path = p.deployment.rsplit("/", 1)[0]
    p.cluster.create(path, body, fieldManager="kubectl-client-side-apply")


def equal_by_hand(p: Play) -> None:
    """Somebody has created the very Service that we render, and the rest is ours."""
    p.apply()
    p.cluster.delete(f"{p.core}/services/leviathan-inference")
    wanted = next(each for each in render(p.site, ENVIRON).objects if each["kind"] == "Service")
    p.cluster.create(f"{p.core}/services", wanted, fieldManager="kubectl-create")


def rolling(p: Play) -> None:
    """A Deployment with the strategy that Kubernetes takes by default."""
    by_kubectl(p)
    body = {"spec": {"strategy": {"type": "RollingUpdate"}}}
    p.cluster.patch(p.deployment, body, content_type=MERGE)


def with_stale(p: Play) -> None:
    """A Service and a volume of ours that are no longer rendered, and others' that look alike."""
    p.apply()
    space_name = p.site.cluster.namespace
    for name, labels in (
        ("old-service", LABEL),
        ("strangers", {}),
        ("helms", {"app.kubernetes.io/managed-by": "Helm"}),
    ):
        spec = {"ports": [{"port": 80}], "selector": {"app": name}}
        p.cluster.create(f"{p.core}/services", {"metadata": {"name": name, "labels": labels}, "spec": spec})
    for name, claimed in (("stale-models", space_name), ("models-of-others", "lab-elsewhere")):
        spec = {
            "capacity": {"storage": "1G"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": claimed, "name": "x"},
            "hostPath": {"path": "/nowhere"},
        }
        meta = {"name": f"{name}-{space_name}", "labels": LABEL}
        p.cluster.create("/api/v1/persistentvolumes", {"metadata": meta, "spec": spec})


def held(p: Play) -> None:
    """A Service of ours that somebody's finalizer holds."""
    p.apply()
    body = {"metadata": {"finalizers": ["example.org/hold"]}}
    p.cluster.patch(f"{p.core}/services/leviathan-inference", body, content_type=MERGE)


def terminating(p: Play) -> None:
    held(p)
    p.cluster.delete(p.core)


def terminating_empty(p: Play) -> None:
    """Our namespace is being deleted already, and a stranger's finalizer holds it."""
    p.apply()
    meta = {"name": "somebodys", "finalizers": ["example.org/hold"]}
    p.cluster.create(f"{p.core}/configmaps", {"metadata": meta})
    p.cluster.delete(p.core)
    for _ in range(60):  # until the namespace's controller has said what holds it, and ours is gone
        live = p.cluster.get(p.core) or {}
        held_by = [each["type"] for each in live["status"].get("conditions", []) if each["status"] == "True"]
        if "NamespaceFinalizersRemaining" in held_by and p.cluster.get(p.deployment) is None:
            return
        p.cluster.transport.sleep(0.5)


def with_stranger(p: Play) -> None:
    p.apply()
    p.cluster.create(f"{p.core}/configmaps", {"metadata": {"name": "somebodys"}})


def passed(p: Play, digest: str) -> None:
    """Two images were applied, and a smoke test let `digest` pass."""
    twice(p)
    reference = f"192.168.3.10:5000/omni/engine@{digest}"
    body = {"metadata": {"annotations": {"leviathan/passed-digest": reference}}}
    p.cluster.patch(p.deployment, body, content_type=MERGE)


def set_by_hand(p: Play) -> None:
    passed(p, TWO)
    body = {"spec": {"template": {"spec": {"containers": [{"name": "engine", "image": "elsewhere:1"}]}}}}
    p.cluster.patch(
        p.deployment, body, content_type="application/strategic-merge-patch+json", fieldManager="kubectl-set"
    )


def other_runtime(p: Play) -> Any:
    return p.apply(replace(p.site, cluster=replace(p.site.cluster, runtime_class="absent")))


def other_app(p: Play) -> Any:
    return p.apply(replace(p.site, workload=replace(p.site.workload, app="renamed")))


def as_unprivileged(site: Site, **nvme: Any) -> Site:
    """The site with the other variant, and another volume."""
    workload = replace(site.workload, variant=Variant.UNPRIVILEGED)
    return replace(site, workload=workload, storage=replace(site.storage, **nvme))


def unprivileged(p: Play, **nvme: Any) -> Any:
    return p.apply(as_unprivileged(p.site, **nvme))


def bound(p: Play) -> None:
    """The unprivileged variant, whose claim is bound to its volume."""
    unprivileged(p)
    for _ in range(60):
        claim = p.cluster.get(f"{p.core}/persistentvolumeclaims/leviathan-models") or {}
        if claim["status"]["phase"] == "Bound":
            return
        p.cluster.transport.sleep(0.5)
    raise AssertionError("the claim is not bound")


MOVED: dict[str, Any] = {"partition": "/dev/nvme1n1p1", "filesystem": "ext4"}


def made_anew(p: Play) -> Any:
    """What the refusal of another partition says to do."""
    return Said(f"{p.delete(timeout_s=60).text()}\n{unprivileged(p, **MOVED).text()}")


def take_port(p: Play) -> None:
    space(p)
    spec = {"type": "NodePort", "ports": [{"port": 80, "nodePort": p.site.engine.node_port}]}
    p.cluster.create(f"{p.core}/services", {"metadata": {"name": "taken"}, "spec": spec})


def check(p: Play) -> Any:
    """Ask for the privileged pod in a namespace that enforces `baseline`, as Talos has it by default."""
    wanted = next(each for each in render(p.site, ENVIRON).objects if each["kind"] == "Deployment")
    return Said(str(check_pod(p.cluster, wanted)))


def without_namespace(p: Play) -> Any:
    wanted = next(each for each in render(p.site, ENVIRON).objects if each["kind"] == "Deployment")
    return Said(str(p.cluster.apply(p.deployment, wanted)["kind"]))


def watch_the_past(p: Play) -> Any:
    return Said(str(list(p.cluster.watch("/api/v1/namespaces", timeout_s=5, resource_version="1"))))


@dataclass(frozen=True)
class Said:
    said: str

    def text(self) -> str:
        return self.said


def force(p: Play) -> Any:
    return p.apply(force_conflicts=True)


SCENES: dict[str, Scene] = {
    "created": Scene(nothing, Play.apply),
    "created-dry": Scene(nothing, partial(Play.apply, dry_run=True)),
    "created-unprivileged": Scene(nothing, unprivileged),
    "unchanged": Scene(applied, Play.apply),
    "configured": Scene(applied, lambda p: p.apply(image(p.site, TWO))),
    "configured-dry": Scene(applied, lambda p: p.apply(image(p.site, TWO), dry_run=True)),
    "conflict": Scene(edited, Play.apply),
    "forced": Scene(edited, force),
    "adopted": Scene(equal_by_hand, Play.apply),
    "diff-adopted": Scene(equal_by_hand, Play.diff),
    "kubectls": Scene(by_kubectl, force),
    "kubectls-rolling": Scene(rolling, force),
    "namespace-conflict": Scene(lambda p: space(p, **{ENFORCE: "restricted"}), Play.apply),
    "namespace-of-others": Scene(space, Play.apply),
    "terminating": Scene(terminating, Play.apply),
    "forbidden": Scene(nothing, Play.apply, user="restricted"),
    "unauthorized": Scene(nothing, Play.apply, user="wrong"),
    "immutable": Scene(applied, other_app),
    "port-taken": Scene(take_port, Play.apply),
    "runtime-class": Scene(nothing, other_runtime),
    "pod-security": Scene(space, check),
    "no-namespace": Scene(nothing, without_namespace),
    "expired": Scene(nothing, watch_the_past),
    "pruned": Scene(with_stale, Play.apply),
    "pruned-dry": Scene(with_stale, partial(Play.apply, dry_run=True)),
    "not-pruned": Scene(with_stale, partial(Play.apply, prune=False)),
    "diff-new": Scene(nothing, Play.diff),
    "diff-none": Scene(applied, Play.diff),
    "diff-image": Scene(applied, lambda p: p.diff(image(p.site, TWO))),
    "diff-conflict": Scene(edited, Play.diff),
    "diff-stale": Scene(with_stale, Play.diff),
    "delete": Scene(twice, Play.delete),
    "delete-dry": Scene(applied, partial(Play.delete, dry_run=True)),
    "delete-nothing": Scene(nothing, Play.delete),
    "delete-stranger": Scene(with_stranger, Play.delete),
    "delete-others-namespace": Scene(in_anothers_namespace, Play.delete),
    "delete-stale": Scene(with_stale, Play.delete),
    "delete-held": Scene(held, partial(Play.delete, timeout_s=4)),
    "rollback-passed": Scene(partial(passed, digest=ONE), Play.rollback),
    "rollback-dry": Scene(partial(passed, digest=ONE), partial(Play.rollback, dry_run=True)),
    "rollback-runs": Scene(partial(passed, digest=TWO), Play.rollback),
    "rollback-before": Scene(twice, Play.rollback),
    "rollback-to": Scene(twice, partial(Play.rollback, to=THREE)),
    "rollback-by-hand": Scene(set_by_hand, Play.rollback),
    "rollback-nothing": Scene(applied, Play.rollback),
    "rollback-absent": Scene(nothing, Play.rollback),
    "delete-terminating": Scene(terminating_empty, partial(Play.delete, timeout_s=4)),
    "volume-moved": Scene(bound, partial(unprivileged, **MOVED)),
    "volume-grown": Scene(bound, partial(unprivileged, size_gb=4000)),
    "volume-shrunk": Scene(bound, partial(unprivileged, size_gb=3000)),
    "delete-moved": Scene(bound, made_anew),
    "to-unprivileged": Scene(applied, unprivileged),
    "to-privileged": Scene(bound, Play.apply),
    "diff-to-unprivileged": Scene(applied, lambda p: p.diff(as_unprivileged(p.site))),
}
