"""What is wrong on purpose: each ends in its exit status, with a sentence about it, and changes nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from e2e.control_plane.api import wait
from leviathan.errors import ExitCode
from leviathan.policy import ENFORCE

from .happy import ask, generation, need
from .report import Report
from .stage import Outcome, Stage


@dataclass(frozen=True)
class Fault:
    """Its name, the tool's words, the exit status and a piece of the sentence that are wanted, and what is done."""

    name: str
    words: tuple[str, ...]
    status: int
    says: str
    kubeconfig: str = "admin"
    before: Callable[[Stage], object] = lambda _stage: None
    after: Callable[[Stage], object] = lambda _stage: None


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
    Fault("wrong credentials", ("apply",), ExitCode.APPLY, "does not know who you are", kubeconfig="wrong"),
    Fault("forbidden by RBAC", ("apply",), ExitCode.APPLY, "forbidden", kubeconfig="restricted"),
    Fault(
        "whole disk instead of the partition",
        ("apply", "--set", "nvme.partition=/dev/nvme0n1"),
        ExitCode.USAGE,
        "partition",
    ),
    Fault(
        "more GPUs than there are",
        ("preflight", "--set", "resources.gpus=3", "--set", "engine.gpu_split=1,1,1"),
        ExitCode.PREFLIGHT,
        "gpu",
    ),
    Fault(
        "port held by another Service",
        ("preflight", "--set", f"engine.node_port={PORT}"),
        ExitCode.PREFLIGHT,
        str(PORT),
        before=port_taken,
        after=lambda stage: stage.plane.api.send("DELETE", OTHER),
    ),
    Fault(
        "Pod Security label held by somebody else",
        ("apply", "--set", "cluster.namespace=guarded", "--set", f"engine.node_port={PORT + 1}"),
        ExitCode.APPLY,
        ENFORCE,
        before=guarded,
        after=lambda stage: stage.plane.api.send("DELETE", GUARDED),
    ),
    Fault("node NotReady", DEPLOY, ExitCode.PREFLIGHT, "Ready", before=not_ready, after=ready_again),
)


def ended(outcome: Outcome, status: int, seen: dict[str, Any]) -> None:
    """The tool has ended as it should, without a traceback and with this exit status; `seen` gets its last line."""
    seen["status"], seen["says"] = outcome.status, outcome.talk.strip().splitlines()[-1:]
    need("Traceback" not in outcome.talk, "a traceback")
    need(outcome.status == status, f"exit status {outcome.status}, wanted {int(status)}")


def go_wrong(stage: Stage, report: Report) -> None:
    """Every fault as a check."""
    for fault in FAULTS:
        report.fault(fault.name, partial(show, stage, fault))


def show(stage: Stage, fault: Fault, seen: dict[str, Any]) -> None:
    """It ends as it should and has changed nothing. Errors: WayError."""
    before = generation(stage)
    fault.before(stage)
    try:
        outcome = stage.tool(*fault.words, kubeconfig=fault.kubeconfig)
    finally:
        fault.after(stage)
    ended(outcome, fault.status, seen)
    need(fault.says.lower() in outcome.talk.lower(), f"nothing about {fault.says}")
    need(generation(stage) == before, "something was changed")
