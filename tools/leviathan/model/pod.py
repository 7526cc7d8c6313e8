"""The state of the pod that downloads the model, and its main container."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from leviathan.cluster.waiting_reasons import STUCK

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


class State(Enum):
    """The state of the pod.

    BETWEEN: its container has ended and will be restarted; LOOPING: it keeps restarting; STUCK: it cannot start.
    SUCCEEDED and FAILED also apply if only the main container has ended permanently.
    """

    MISSING = "missing"
    PENDING = "pending"
    RUNNING = "running"
    BETWEEN = "between two runs"
    LOOPING = "looping"
    STUCK = "stuck"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True)
class Seen:
    """The observed state of a pod: `why` in words, `restarts` and `exit_code` (None: never ended) of the container."""

    state: State
    why: str = ""
    uid: str = ""
    container: str = ""
    restarts: int = 0
    exit_code: int | None = None


def see(pod: Mapping[str, Any] | None) -> Seen:
    """The state of a pod object, or of None for a pod that does not exist."""
    if pod is None:
        return Seen(State.MISSING)
    status = pod.get("status", {})
    container = main_container(pod)
    mine: Mapping[str, Any] = next(
        (each for each in status.get("containerStatuses") or [] if each["name"] == container), {}
    )
    ended = mine.get("state", {}).get("terminated") or mine.get("lastState", {}).get("terminated")
    state, why = _state(status, mine.get("state", {}), ended, str(pod["spec"].get("restartPolicy", "Always")))
    return Seen(
        state,
        why,
        uid=str(pod["metadata"].get("uid", "")),
        container=container,
        restarts=int(mine.get("restartCount", 0)),
        exit_code=None if ended is None else int(ended.get("exitCode", 0)),
    )


def main_container(pod: Mapping[str, Any]) -> str:
    """The container whose log counts: the pod's default container by annotation, else its first one."""
    names = [str(each["name"]) for each in pod["spec"]["containers"]]
    named = str((pod["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER, ""))
    return named if named in names else names[0]


def _state(
    status: Mapping[str, Any], now: Mapping[str, Any], ended: Mapping[str, Any] | None, restarts: str
) -> tuple[State, str]:
    """The state and its reason, from the pod's status, its container's state, how that ended, and restartPolicy."""
    waiting = now.get("waiting", {})
    reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
    phase = status.get("phase", "Pending")
    found = State.PENDING, _pending(status, reason, message)
    if phase == "Succeeded":
        found = State.SUCCEEDED, ""
    elif phase == "Failed":
        found = State.FAILED, _ending(status, ended)
    elif "running" in now:
        found = State.RUNNING, ""
    elif "terminated" in now:
        found = _after(int(now["terminated"].get("exitCode", 0)), restarts), _ending(status, ended)
    elif reason == "CrashLoopBackOff":
        found = State.LOOPING, _ending(status, ended)
    elif reason in STUCK:
        found = State.STUCK, f"{reason}: {message}" if message else reason
    return found


def _after(code: int, restarts: str) -> State:
    """The state after the main container has ended with `code`, while the pod's other containers still run."""
    if restarts == "Always" or (restarts == "OnFailure" and code):
        return State.BETWEEN
    return State.FAILED if code else State.SUCCEEDED


def _ending(status: Mapping[str, Any], ended: Mapping[str, Any] | None) -> str:
    """Why a container or the whole pod ended: `OOMKilled, exit 137: message`."""
    if ended is None:
        return ": ".join(filter(None, (str(status.get("reason", "")), str(status.get("message", "")))))
    text = f"{ended.get('reason', 'ended')}, exit {ended.get('exitCode', 0)}"
    message = " ".join(str(ended.get("message", "")).split())
    return f"{text}: {message}" if message else text


def _pending(status: Mapping[str, Any], reason: str, message: str) -> str:
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition.get('reason', 'not scheduled')}: {condition.get('message', '')}"
    return ": ".join(filter(None, (reason, message))) or "not started yet"
