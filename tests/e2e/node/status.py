"""What a kubelet reports of a pod: phase, conditions, container statuses. Pure functions over what the agent knows.

Source: pkg/kubelet/kubelet_pods.go (getPhase, convertToAPIContainerStatuses) and pkg/kubelet/status/generate.go of
Kubernetes 1.34, whose reason strings these are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import RUNTIME
from .events import rfc3339

Json = dict[str, Any]
#: Conditions that the kubelet owns; the others (PodScheduled, DisruptionTarget) are left as they are.
OWNED = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")


@dataclass
class Run:
    """One run of a container, from its creation to its end. Times in seconds since 1970; 0 for not yet."""

    id: str
    number: int
    image_id: str
    created: float
    started: float = 0
    finished: float = 0
    code: int = 0
    reason: str = ""
    message: str = ""

    @property
    def running(self) -> bool:
        """Whether it has started and not ended."""
        return bool(self.started) and not self.finished

    def terminated(self) -> Json:
        """As `state.terminated`."""
        out: Json = {
            "exitCode": self.code,
            "reason": self.reason,
            "startedAt": rfc3339(self.started),
            "finishedAt": rfc3339(self.finished),
            "containerID": f"{RUNTIME}://{self.id}",
        }
        return out | ({"message": self.message} if self.message else {})


@dataclass
class ContainerState:
    """What the agent knows of one container: its runs, newest last, why it waits, and what the probes say."""

    spec: Json
    init: bool
    runs: list[Run]
    waiting: str = ""
    waiting_message: str = ""
    started: bool = False
    ready: bool = False

    @property
    def name(self) -> str:
        """The container's name."""
        return str(self.spec["name"])

    @property
    def last(self) -> Run | None:
        """The newest run."""
        return self.runs[-1] if self.runs else None


def container_status(one: ContainerState, *, initialising: bool, restarts: bool) -> Json:
    """`restarts`: whether the container will be started again when it has ended."""
    run = one.last
    default = "PodInitializing" if initialising and not one.init else "ContainerCreating"
    state: Json = {"waiting": {"reason": default}}
    previous = one.runs[-2] if len(one.runs) > 1 else None
    if run is not None and run.finished:
        state = {"terminated": run.terminated()}
    elif run is not None and run.started:
        state = {"running": {"startedAt": rfc3339(run.started)}}
    if one.waiting and not (run and run.running) and (restarts or run is None):
        if run is not None and run.finished:
            previous = run
        state = {"waiting": {"reason": one.waiting}}
        if one.waiting_message:
            state["waiting"]["message"] = one.waiting_message
    live = "running" in state
    ready = one.ready if not one.init else bool(run and run.finished and run.code == 0)
    return {
        "name": one.name,
        "image": one.spec["image"],
        "imageID": run.image_id if run else "",
        "containerID": f"{RUNTIME}://{run.id}" if run else None,
        "restartCount": run.number if run else 0,
        "ready": ready and (live or one.init),
        "started": one.started and live,
        "state": state,
        "lastState": {"terminated": previous.terminated()} if previous else {},
    }


def phase(pod: Json, init: Sequence[Json], main: Sequence[Json], *, ending: bool) -> str:
    """`ending`: the pod is being deleted and nothing is started again."""
    policy = pod["spec"].get("restartPolicy", "Always")
    final = ending or policy == "Never"
    for status in init:
        state = status["state"]
        ended = state.get("terminated") or (status["lastState"].get("terminated") if "waiting" in state else None)
        if ended is None or ended["exitCode"] != 0:
            return "Failed" if ended is not None and final else "Pending"
    running = sum("running" in s["state"] for s in main)
    stopped = [s["state"].get("terminated") or s["lastState"].get("terminated") for s in main if _stopped(s)]
    if running + len(stopped) < len(main):
        return "Failed" if ending and not running else "Pending"
    good = all(one["exitCode"] == 0 for one in stopped)
    again = not ending and (policy == "Always" or (policy == "OnFailure" and not good))
    if running or again:
        return "Running"
    return "Succeeded" if good else "Failed"


def _stopped(status: Json) -> bool:
    state = status["state"]
    return "terminated" in state or ("waiting" in state and "terminated" in status["lastState"])


def conditions(old: Sequence[Json], pod: Json, init: Sequence[Json], main: Sequence[Json], now: Json) -> list[Json]:
    """The pod's conditions: others' kept, ours computed again. A status that stays keeps its time of change.

    `now`: {"phase", "sandbox": whether its network and folders are there}.
    """
    unready = [s["name"] for s in main if not s["ready"]]
    incomplete = [s["name"] for s in init if not s["ready"]]
    done = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(now["phase"], "")
    ready: Json = {"status": "True"}
    if done and (now["phase"] == "Failed" or not any("running" in s["state"] for s in main)):
        ready = {"status": "False", "reason": done}
    elif unready:
        text = f"containers with unready status: [{' '.join(unready)}]"
        ready = {"status": "False", "reason": "ContainersNotReady", "message": text}
    started = any("running" in s["state"] or s["lastState"] or "terminated" in s["state"] for s in main)
    initialized: Json = {"status": "True"} | ({"reason": "PodCompleted"} if now["phase"] == "Succeeded" else {})
    if incomplete and not started:
        text = f"containers with incomplete status: [{' '.join(incomplete)}]"
        initialized = {"status": "False", "reason": "ContainersNotInitialized", "message": text}
    made = {
        "PodReadyToStartContainers": {"status": "True" if now["sandbox"] else "False"},
        "Initialized": initialized,
        "Ready": ready,
        "ContainersReady": dict(ready),
    }
    before = {c["type"]: c for c in old}
    out = []
    for kind in OWNED:
        same = before.get(kind, {}).get("status") == made[kind]["status"]
        changed = before[kind].get("lastTransitionTime") if same else rfc3339()
        out.append({"type": kind, "lastProbeTime": None, "lastTransitionTime": changed, **made[kind]})
    return out + [c for c in old if c["type"] not in OWNED]
