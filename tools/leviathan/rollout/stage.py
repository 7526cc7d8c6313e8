"""The stage of a rollout: how long it may take without progress, and what counts as progress."""

from collections.abc import Hashable
from enum import Enum

from leviathan.cluster.objects import Object, condition, container_of, is_ready, name_of, state_of, uid_of
from leviathan.cluster.waiting_reasons import IMAGE
from leviathan.rollout.observe.snapshot import Health, Snapshot
from leviathan.site.schema import Site
from leviathan.site.start_budget import StartBudget
from leviathan.terminal.progress import size_text, time_text

#: States that a failing container alternates between. Each group counts as one state.
BACK_AND_FORTH = {"CrashLoopBackOff": "down", **dict.fromkeys(IMAGE, "image")}


class Stage(Enum):
    """The stage of a rollout. The value is its text in status lines."""

    NO_DEPLOYMENT = "there is no Deployment"
    UNSEEN = "waiting for the deployment controller"
    OLD_POD = "waiting for the old pod to end"
    NO_POD = "waiting for the pod to be created"
    SCHEDULING = "waiting for a node"
    CREATING = "preparing volumes and network"
    PULLING = "pulling the image"
    IMAGE = "waiting for the image"
    DOWN = "waiting for the engine to be restarted"
    LOADING = "loading"
    READY = "ready, checking /health"

    @property
    def hint(self) -> str:
        """The remedy for this stage: what to check if there is no progress and no finding."""
        return {
            Stage.NO_DEPLOYMENT: "leviathan apply",
            Stage.UNSEEN: "check that it runs: {cluster} -n kube-system get pods | grep kube-controller-manager",
            Stage.OLD_POD: "{kubectl} get pods -l app={app} -o wide",
            Stage.NO_POD: "{kubectl} describe replicasets -l app={app}",
            Stage.SCHEDULING: "check that the scheduler runs: {cluster} -n kube-system get pods | grep kube-scheduler",
            Stage.CREATING: "{kubectl} describe pods -l app={app}; {cluster} describe node {node}",
            Stage.PULLING: "curl {registry}/v2/; talosctl -n {address} logs cri",
            Stage.IMAGE: "{kubectl} describe pods -l app={app}",
            Stage.DOWN: "leviathan logs",
            Stage.LOADING: "leviathan logs; talosctl -n {address} dmesg | grep -i -E 'nvme|xfs|nvrm'",
            Stage.READY: "curl -i {endpoint}/health",
        }[self]


def stage_of(snapshot: Snapshot) -> Stage:
    """The current stage."""
    if snapshot.deployment is None:
        return Stage.NO_DEPLOYMENT
    if not snapshot.current:
        return Stage.UNSEEN
    pod = snapshot.pod
    if pod is None:
        return Stage.OLD_POD if snapshot.old_pods else Stage.NO_POD
    return _stage_of_pod(snapshot, pod)


def _stage_of_pod(snapshot: Snapshot, pod: Object) -> Stage:
    if not pod["spec"].get("nodeName"):
        return Stage.SCHEDULING
    if is_ready(pod):
        return Stage.READY
    kind, fields = state_of(container_of(pod))
    if kind == "running":
        return Stage.LOADING
    if fields.get("reason") in IMAGE:
        return Stage.IMAGE
    if kind == "terminated" or (kind == "waiting" and fields.get("reason") not in ("ContainerCreating", None)):
        return Stage.DOWN
    last = snapshot.last(pod, "Pulling", "Pulled", "Created", "Started")
    return Stage.PULLING if last is not None and last.reason == "Pulling" else Stage.CREATING


def silence_s(snapshot: Snapshot, site: Site, budget: StartBudget) -> float:
    """Seconds that the current stage may take without progress.

    The kubelet reports nothing while it pulls an image, and the load is invisible if neither /health nor the log can be
    reached. These stages may take the time that the start budget allows.
    """
    stage = stage_of(snapshot)
    own = {Stage.PULLING: budget.pull_s, Stage.OLD_POD: budget.end_s}.get(stage, 0.0)
    if stage is Stage.LOADING and snapshot.answer is None:
        own = float(budget.startup_s)
    return max(float(site.rollout.idle_s), own)


def fingerprint(snapshot: Snapshot) -> Hashable:
    """A value that is equal for two snapshots without progress between them."""
    deployment, pod = snapshot.deployment or {"metadata": {}}, snapshot.pod
    old = tuple((uid_of(each), "deletionTimestamp" in each["metadata"]) for each in snapshot.old_pods)
    known = (deployment["metadata"].get("generation"), snapshot.current, stage_of(snapshot), old)
    if pod is None:
        return known
    container = container_of(pod)
    kind, fields = state_of(container)
    conditions = tuple(condition(pod, name).get("status") for name in ("PodScheduled", "Initialized", "Ready"))
    steps = frozenset(event.reason for event in snapshot.about(pod) if not event.warning)
    state = BACK_AND_FORTH.get(str(fields.get("reason", "")), kind)
    answer = snapshot.answer
    load = (
        tuple(
            answer.body.get(key) for key in ("status", "phase", "detail", "layers_loaded", "bytes_loaded", "bytes_read")
        )
        if answer
        else ()
    )
    return (
        *known,
        uid_of(pod),
        conditions,
        state,
        container.get("restartCount", 0),
        steps,
        load,
        snapshot.last_log,
    )


def load_text(answer: Health) -> str:
    """The engine's report in one line: phase, layers, bytes, percent, estimate."""
    body = answer.body
    parts = [str(body.get("phase", ""))]
    if body.get("detail"):
        parts.append(str(body["detail"]))
    total = body.get("bytes")
    if isinstance(total, int | float) and total and body.get("status") == "loading":
        loaded = float(body.get("bytes_loaded") or 0)
        layers = f"layer {body.get('layers_loaded', 0)} of {body['layers']}, " if body.get("layers") else ""
        parts.append(f"{layers}{body.get('percent', 0)} %, {size_text(loaded)} of {size_text(total)}")
        estimate = body.get("estimate_seconds")
        if isinstance(estimate, int | float) and estimate > 0:
            parts.append(f"about {time_text(estimate)} left")
    return ", ".join(part for part in parts if part)


def line_of(snapshot: Snapshot) -> str:
    """The state in one line."""
    stage, pod = stage_of(snapshot), snapshot.pod
    text = stage.value
    if stage is Stage.LOADING and snapshot.answer is not None:
        text = load_text(snapshot.answer)
    elif stage is Stage.READY and not snapshot.ready:
        text = "ready, waiting for the Deployment to count it"
    elif stage is Stage.OLD_POD:
        text = f"{text}: {', '.join(name_of(each) for each in snapshot.old_pods)}"
    count = int(container_of(pod).get("restartCount", 0)) if pod is not None else 0
    return f"{text}; {count} restart{'' if count == 1 else 's'}" if count else text
