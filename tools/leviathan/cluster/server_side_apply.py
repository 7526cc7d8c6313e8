"""Applies the manifests with server-side apply, and prunes objects that are no longer in them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from leviathan.cluster.client import Cluster, ClusterError, exits
from leviathan.cluster.dry_run import Change, Conflict, Step, look, refuse_conflicts
from leviathan.cluster.kinds import is_ours, path_of, title
from leviathan.cluster.podcheck import SETTLES, check_pod, leftovers
from leviathan.cluster.prune import labelled, stale
from leviathan.cluster.secrets import ensure
from leviathan.errors import ExitCode
from leviathan.manifests.files import Object
from leviathan.manifests.policy import ENFORCE
from leviathan.manifests.rendering import render
from leviathan.site.schema import Site
from leviathan.terminal.output import Console


@dataclass(frozen=True)
class Outcome:
    """What happened (in a dry run: would happen) to one object; `note` adds details, or is empty."""

    title: str
    change: Change
    note: str = ""

    def data(self) -> dict[str, str]:
        """The outcome for programs."""
        return {"object": self.title, "change": self.change.value, "note": self.note}


@dataclass(frozen=True)
class Applied:
    """The result of an apply; `overruled` are the conflicts that --force-conflicts took over."""

    image: str
    namespace: str
    outcomes: tuple[Outcome, ...]
    warnings: tuple[str, ...] = ()
    overruled: tuple[Conflict, ...] = field(default=())
    dry_run: bool = False

    @property
    def changed(self) -> bool:
        """Whether the cluster was (would be) changed."""
        return any(each.change is not Change.UNCHANGED for each in self.outcomes)

    def text(self) -> str:
        """One line per object, and a summary line."""
        would = "would be " if self.dry_run else ""
        lines = [
            f"{each.title} {would if each.change is not Change.UNCHANGED else ''}{each.change.value}"
            f"{f' ({each.note})' if each.note else ''}"
            for each in self.outcomes
        ]
        last = f"{self.image} in {self.namespace}"
        return "\n".join([*lines, last if self.changed else f"nothing to do: {len(self.outcomes)} objects, {last}"])

    def data(self) -> dict[str, Any]:
        """The result for programs."""
        return {
            "image": self.image,
            "namespace": self.namespace,
            "changed": self.changed,
            "dry_run": self.dry_run,
            "objects": [each.data() for each in self.outcomes],
            "overruled": [each.data() for each in self.overruled],
            "warnings": list(self.warnings),
        }


def run(
    site: Site,
    cluster: Cluster,
    console: Console,
    *,
    environ: Mapping[str, str],
    force_conflicts: bool = False,
    prune: bool = True,
    dry_run: bool = False,
    pullable: Callable[[str], None] = lambda image: None,
) -> Applied:
    """Apply the site's manifests: first check all objects, then write those that differ, then prune.

    Arguments: `environ`, for the manifests' folder; `force_conflicts`, take over fields from other managers; `prune`,
    delete objects with our label that are not rendered; `dry_run`, only validate on the server; `pullable`, called with
    the image before a Deployment is changed, raises if no pod could pull it.
    Errors: ClusterError, LayoutError and RegistryError (exit status APPLY), RenderError.
    """
    with exits(ExitCode.APPLY):
        rendered = render(site, environ)
        steps = look(cluster, rendered.objects)
        looked = len(cluster.warnings)
        if not force_conflicts:
            refuse_conflicts(steps)
        overruled = tuple(each for step in steps for each in step.conflicts)
        for each in overruled:
            console.say(f"taking over: {each.overruled()}")
        if any(each.change is not Change.UNCHANGED for each in steps if each.wanted["kind"] == "Deployment"):
            pullable(rendered.image)
        namespace = site.cluster.namespace
        old = stale(labelled(cluster, namespace, console.say, site.release), rendered.objects) if prune else []
        _write(
            cluster,
            console,
            steps,
            force_conflicts=force_conflicts,
            dry_run=dry_run,
            secrets=lambda: ensure(site, cluster, environ, console),
        )
        for gone in old:
            if not dry_run:
                cluster.delete(path_of(gone), propagationPolicy="Background")
        _leftovers(cluster, console, steps)
    outcomes = [Outcome(each.title, each.change, _note(each, dry_run=dry_run)) for each in steps]
    outcomes += [Outcome(title(each), Change.PRUNED, "has our label, but is not in the manifests") for each in old]
    renewed = not dry_run and outcomes[0].change is not Change.UNCHANGED
    # Warnings from before the namespace had its labels no longer apply.
    warnings = _warn(console, tuple(dict.fromkeys(cluster.warnings[looked if renewed else 0 :])), rendered.objects)
    return Applied(rendered.image, namespace, tuple(outcomes), warnings, overruled, dry_run)


def _write(
    cluster: Cluster,
    console: Console,
    steps: Sequence[Step],
    *,
    force_conflicts: bool,
    dry_run: bool,
    secrets: Callable[[], object],
) -> None:
    """Apply the objects that differ, in order. Before the Deployment, create Secrets and check its pod."""
    done: list[str] = []
    fresh = any(each.change is not Change.UNCHANGED for each in steps if each.wanted["kind"] == "Namespace")
    for step in steps:
        if step.wanted["kind"] == "Deployment" and not dry_run:
            secrets()
        if step.change is Change.UNCHANGED:
            continue
        try:
            asked = step.wanted["kind"] == "Deployment" and not (dry_run and fresh)
            if asked and not check_pod(cluster, step.wanted, again=SETTLES if fresh else 0):
                console.debug("could not check whether the cluster admits the pod")
            if not dry_run:
                cluster.apply(path_of(step.wanted), step.wanted, force=force_conflicts)
        except ClusterError:
            if done:
                console.say(f"applied before the failure: {', '.join(done)}; the other objects are unchanged")
            raise
        done.append(step.title)


def _leftovers(cluster: Cluster, console: Console, steps: Sequence[Step]) -> None:
    for step in steps:
        if step.wanted["kind"] == "Deployment" and step.result is not None:
            name, space = step.wanted["metadata"]["name"], step.wanted["metadata"]["namespace"]
            for line in leftovers(cluster, step.wanted, step.result):
                console.say(
                    f"warning: {step.title}: {line}; fix: {cluster.kubectl} delete deployment {name} -n {space}, then"
                    " apply again"
                )


def _note(step: Step, *, dry_run: bool) -> str:
    if dry_run and step.live is None and step.result is None:
        return "its namespace does not exist yet, so the server did not check it"
    if step.wanted["kind"] == "Namespace" and step.live is not None and not is_ours(step.wanted):
        return "existed before: leviathan delete will keep it"
    if step.adopts:
        return "same values, leviathan becomes the field manager"
    return ""


def _warn(console: Console, warnings: tuple[str, ...], objects: Sequence[Object]) -> tuple[str, ...]:
    """Print the server's warnings. A privileged pod always violates `baseline`; the namespace's label allows that."""
    expected = any(
        each["kind"] == "Namespace" and each["metadata"]["labels"].get(ENFORCE) == "privileged" for each in objects
    )
    for text in warnings:
        known = expected and text.startswith("would violate PodSecurity")
        console.say(f"warning: {text}{' (expected: the namespace allows privileged pods)' if known else ''}")
    return warnings
