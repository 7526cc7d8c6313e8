"""The content that both renderers of a rollout show: rows of label and text, and related events."""

from collections.abc import Sequence
from dataclasses import dataclass

from leviathan.cluster.objects import (
    Event,
    Object,
    container_of,
    is_ending,
    is_true,
    name_of,
    revision_of,
    seconds_of,
    state_of,
)
from leviathan.rollout.diagnose.container import ending
from leviathan.rollout.diagnose.finding import Finding
from leviathan.rollout.observe.health import NODE_PORT
from leviathan.rollout.observe.snapshot import Health, Snapshot
from leviathan.rollout.stage import line_of, load_text
from leviathan.terminal.progress import time_text

Row = tuple[str, str]


@dataclass(frozen=True)
class Moment:
    """One moment of the loop: snapshot, findings, and times in seconds.

    `elapsed_s`: since the start; `limit_s`: limit of the whole rollout; `still_s`: since the last progress.
    """

    snapshot: Snapshot
    findings: Sequence[Finding]
    elapsed_s: float
    limit_s: float
    still_s: float

    def line(self) -> str:
        """The moment in one line."""
        silent = self.snapshot.silent_s
        away = f"; the API server has not answered for {time_text(silent)}" if silent >= 5 else ""
        return f"{time_text(self.elapsed_s)} of {time_text(self.limit_s)}: {line_of(self.snapshot)}{away}"


def rows(snapshot: Snapshot) -> list[Row]:
    """The state as rows: Deployment, pods, container, image, health, node."""
    found: list[Row] = []
    if snapshot.deployment is not None:
        found.append(("deployment", deployment_text(snapshot)))
    found += [("old pod", f"{name_of(pod)}, {'ending' if is_ending(pod) else 'running'}") for pod in snapshot.old_pods]
    pod = snapshot.pod or next(reversed(snapshot.new_pods), None)
    if pod is not None:
        found.append(("pod", pod_text(pod)))
        found.append(("container", container_text(pod, snapshot.now)))
        if count := int(container_of(pod).get("restartCount", 0)):
            _, before = state_of(container_of(pod), "lastState")
            found.append(("restarts", f"{count}, the last after {ending(before)}" if before else str(count)))
        found.append(("image", image_text(pod)))
    if snapshot.answer is not None and not snapshot.answer.ok:
        found.append(("load", load_text(snapshot.answer)))
    for health in (snapshot.health, snapshot.inner):
        if health is not None:
            found.append(("health", health_text(health)))
    if snapshot.node is not None:
        found.append(("node", f"{name_of(snapshot.node)}, {'' if is_true(snapshot.node, 'Ready') else 'not '}ready"))
    return found


def deployment_text(snapshot: Snapshot) -> str:
    """Name, revision, ready pods, and whether the controller has seen the newest change."""
    deployment = snapshot.deployment
    assert deployment is not None
    wanted = deployment["spec"].get("replicas", 1)
    ready = deployment.get("status", {}).get("readyReplicas", 0)
    seen = "" if snapshot.current else ", newest change not yet seen by the controller"
    return f"{name_of(deployment)}, revision {revision_of(deployment) or '?'}, {ready} of {wanted} ready{seen}"


def pod_text(pod: Object) -> str:
    """Name, phase (or its reason, as kubectl shows it) and node."""
    status = pod.get("status", {})
    phase = "Terminating" if is_ending(pod) else status.get("reason") or status.get("phase", "Unknown")
    node = pod["spec"].get("nodeName")
    return f"{name_of(pod)}, {phase}{f', on {node}' if node else ', on no node yet'}"


def container_text(pod: Object, now: float) -> str:
    """The state of the engine's container."""
    container = container_of(pod)
    kind, fields = state_of(container)
    if kind == "running":
        ready = "ready" if container.get("ready") else "not ready"
        return f"running for {time_text(max(now - seconds_of(fields.get('startedAt')), 0))}, {ready}"
    if kind == "terminated":
        return f"ended: {ending(fields)}"
    return f"waiting: {fields.get('reason', 'no reason given')}" if kind else "not created yet"


def image_text(pod: Object) -> str:
    """The running image, by digest once the node has pulled it."""
    running = str(container_of(pod).get("imageID", ""))
    wanted = next((str(each.get("image", "")) for each in pod["spec"].get("containers", [])), "")
    return running if "@sha256:" in running else wanted


def health_text(health: Health) -> str:
    """The answer of /health, and its route."""
    if health.status is None:
        return f"not reachable through {health.via}: {health.error}"
    said = health.body.get("status") if health.ours else "not the engine's answer"
    return f"HTTP {health.status}, {said}" + ("" if health.via == NODE_PORT else f", through {health.via}")


def told(snapshot: Snapshot) -> list[Event]:
    """The events about the Deployment, its newest ReplicaSet and its pods, oldest first."""
    shown = (snapshot.deployment, snapshot.replica_set, *snapshot.new_pods, *snapshot.old_pods)
    names = {uid for each in shown if each is not None and (uid := each["metadata"].get("uid"))}
    return [event for event in snapshot.events if event.uid in names]
