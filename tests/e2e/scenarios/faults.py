"""What is wrong on purpose: each ends in its exit status, with a sentence about it, and changes nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from e2e.control_plane import objects
from e2e.control_plane.api import wait
from leviathan.errors import ExitCode
from leviathan.manifests.policy import ENFORCE

from .happy_path import ask, lives, need
from .inventory import wanted
from .report import Report
from .stage import Outcome, Stage


@dataclass(frozen=True)
class Fault:
    """Its name, the tool's words, the exit status and the phrases of the last line that are wanted, and what is done.

    `status_moves`: whether the status of what is deployed changes by what is done, so that only what is wanted of it
    can be compared.
    """

    name: str
    words: tuple[str, ...]
    status: int
    says: tuple[str, ...]
    kubeconfig: str = "admin"
    before: Callable[[Stage], object] = lambda _stage: None
    after: Callable[[Stage], object] = lambda _stage: None
    status_moves: bool = False


def not_ready(stage: Stage) -> None:
    """The node says NotReady, and the API has it."""
    stage.node.not_ready()
    wait("the node NotReady in the API", lambda: not stage.plane.node_is_ready(), 90)


def ready_again(stage: Stage) -> None:
    """The node says Ready, the API has it, and the pod is behind its Service again."""
    stage.node.ready()
    wait("the node Ready in the API", stage.plane.node_is_ready, 90)
    wait("the endpoint back behind the Service", answers, 90)


def answers() -> bool:
    """Whether the endpoint says that it is well."""
    try:
        return ask("/health", timeout=5)[0] == 200
    except OSError:
        return False


PORT = 30001
OTHER = "/api/v1/namespaces/default/services/other"
GUARDED = "/api/v1/namespaces/guarded"


def port_taken(stage: Stage) -> None:
    """A Service of somebody else has the port on the nodes."""
    spec = {"type": "NodePort", "selector": {"app": "other"}, "ports": [{"port": 80, "nodePort": PORT}]}
    stage.plane.api.apply(OTHER, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "other"}, "spec": spec})


def guarded(stage: Stage) -> None:
    """A namespace in which somebody else holds on to the label that refuses privileged pods."""
    metadata = {"name": "guarded", "labels": {ENFORCE: "baseline"}}
    stage.plane.api.apply(GUARDED, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})


DEPLOY = ("deploy", "--skip", "push")
FAULTS = (
    Fault(
        "wrong credentials",
        ("apply",),
        ExitCode.APPLY,
        ("error: the cluster does not accept these credentials (", "): Unauthorized; fix: renew the kubeconfig"),
        kubeconfig="wrong",
    ),
    Fault(
        "forbidden by RBAC",
        ("apply",),
        ExitCode.APPLY,
        (
            "error: forbidden: this kubeconfig may not ",
            f'namespaces "{objects.NAMESPACE}" is forbidden: User "{objects.RESTRICTED_USER}" cannot get resource',
        ),
        kubeconfig="restricted",
    ),
    Fault(
        "whole disk instead of the partition",
        ("apply", "--set", "storage.partition=/dev/nvme0n1"),
        ExitCode.USAGE,
        ("error: invalid site: storage.partition (--set): expected a string such as /dev/nvme0n1p1",),
    ),
    Fault(
        "more GPUs than there are",
        ("preflight", "--set", "resources.gpus=3", "--set", "engine.gpu_split=1,1,1"),
        ExitCode.PREFLIGHT,
        ("error: preflight found a problem: gpus: nvidia.com/gpu: 3 needed, 2 of 2 free; fix: request less: ",),
    ),
    Fault(
        "port held by another Service",
        ("preflight", "--set", f"engine.node_port={PORT}"),
        ExitCode.PREFLIGHT,
        (f"error: preflight found a problem: node-port: {PORT} is used by the Service default/other; fix: ",),
        before=port_taken,
        after=lambda stage: stage.plane.api.send("DELETE", OTHER),
    ),
    Fault(
        "port taken by another Service after preflight",
        ("apply", "--set", f"engine.node_port={PORT}"),
        ExitCode.APPLY,
        (
            "error: the API server rejects services/leviathan-inference as invalid (",
            f"{PORT}: provided port is already allocated; fix: --set engine.node_port=PORT; to see which Service uses ",
        ),
        before=port_taken,
        after=lambda stage: stage.plane.api.send("DELETE", OTHER),
    ),
    Fault(
        "Pod Security label held by somebody else",
        ("apply", "--set", "cluster.namespace=guarded", "--set", f"engine.node_port={PORT + 1}"),
        ExitCode.APPLY,
        (
            "error: another field manager owns a field: Namespace/guarded: ",
            f".metadata.labels.{ENFORCE} is owned by e2e and is 'baseline'; --force-conflicts would set it",
        ),
        before=guarded,
        after=lambda stage: stage.plane.api.send("DELETE", GUARDED),
    ),
    Fault(
        "node NotReady",
        DEPLOY,
        ExitCode.PREFLIGHT,
        (f"error: preflight: preflight found a problem: node: {objects.NODE} is not Ready (KubeletNotReady: ",),
        before=not_ready,
        after=ready_again,
        status_moves=True,
    ),
)


def ended(outcome: Outcome, status: int, says: tuple[str, ...], seen: dict[str, Any]) -> None:
    """The tool has ended without a traceback, with this exit status, and its last line has all the phrases of `says`.

    `seen` gets both. Errors: WayError.
    """
    last = (outcome.talk.strip().splitlines() or [""])[-1]
    seen["status"], seen["says"] = outcome.status, last
    need("Traceback" not in outcome.talk, "a traceback")
    need(outcome.status == status, f"exit status {outcome.status}, wanted {int(status)}: {last}")
    for phrase in says:
        need(phrase in last, f"the last line has not {phrase!r}: {last}")


def go_wrong(stage: Stage, report: Report) -> None:
    """Every fault as a check."""
    for fault in FAULTS:
        report.fault(fault.name, partial(show, stage, fault))


def show(stage: Stage, fault: Fault, seen: dict[str, Any]) -> None:
    """It ends as it should and has changed nothing: no object of ours, no namespace, no pod. Errors: WayError."""
    fault.before(stage)
    try:
        before = standing(stage, fault)
        outcome = stage.tool(*fault.words, kubeconfig=fault.kubeconfig)
        after = standing(stage, fault)
    finally:
        fault.after(stage)
    ended(outcome, fault.status, fault.says, seen)
    seen["unchanged"] = sorted(before)
    for name in before | after:
        need(before.get(name) == after.get(name), f"{name} was {before.get(name)}, and is {after.get(name)}")


def standing(stage: Stage, fault: Fault) -> dict[str, object]:
    """What must not be another after the fault than before it."""
    return {**wanted(stage.plane.api, version=not fault.status_moves), "pods": lives(stage)}
