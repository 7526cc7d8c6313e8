"""What breaks between the registry, the node and the engine: each ends in its exit status with its sentence; what was
wrong is then put right, and the very same command succeeds.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from e2e.background import meanwhile
from e2e.control_plane import objects
from e2e.control_plane.api import MERGE, wait
from e2e.node.tiny_image import busybox_layer, push
from leviathan.errors import ExitCode
from leviathan.manifests.policy import ENFORCE

from .engine_processes import engine_processes
from .faults import ended
from .happy_path import DEPLOYMENT, PODS, our_pods, running_image
from .image import derive
from .report import Report
from .stage import MODEL, Stage

DEPLOY = ("deploy", "--skip", "push", "--until", "rollout", "--set", "rollout.patience_s=3")
# Short patience is for what never gets well. What was put right may wait for the old pod's memory.
PATIENT = ("--set", "rollout.patience_s=60")
HASTY = (*DEPLOY, "--set", "rollout.restarts=1")
NEVER_PUSHED, GONE = "layout-never-pushed", "layout-gone"
FAILED = "error: rollout: the engine failed; "
SETS = f"/apis/apps/v1/namespaces/{objects.NAMESPACE}/replicasets"
Words = tuple[str, ...]


@dataclass(frozen=True)
class Break:
    """Its name, the tool's words, the exit status and the phrases of the last line that are wanted.

    `{alias}` in the words and phrases is the disk's other name. `broken`: inside it, it is broken, and after it, it is
    right again. `fresh`: whether the deployment is deleted first.
    """

    name: str
    words: Words
    status: int
    says: Words
    broken: Callable[[Stage], AbstractContextManager[None]]
    fresh: bool = True


def break_all(stage: Stage, report: Report) -> None:
    """Every break as a check."""
    for one in BREAKS:
        report.fault(one.name, partial(show, stage, one))


def show(stage: Stage, one: Break, seen: dict[str, Any]) -> None:
    """It ends as it should, and the same command succeeds once it is put right. Errors: WayError."""
    if one.fresh:
        clear(stage)
    words, says = (tuple(text.format(alias=stage.disk.alias) for text in texts) for texts in (one.words, one.says))
    with one.broken(stage):
        outcome = stage.tool(*words, timeout=240)
        ended(outcome, one.status, says, seen)
        if one.fresh and one.status == ExitCode.ROLLOUT:
            clear(stage)
    after = stage.must(*words, *PATIENT, timeout=240)
    seen["put right, the same command"] = after.out.strip().splitlines()[-1]
    running_image(stage)


def clear(stage: Stage) -> None:
    """No deployment of ours and no pod of it, so that nobody has the GPUs or the disk."""
    stage.must("delete")
    wait("the pod gone", lambda: not our_pods(stage), 60)


@contextmanager
def image_missing(stage: Stage) -> Iterator[None]:
    """The layout has an image that nobody has pushed; the push puts it right."""
    layout = stage.folder / NEVER_PUSHED
    derive(stage.built, layout, stamp="never pushed")
    yield
    stage.must("push", "--set", f"image.layout={layout}")


@contextmanager
def image_gone(stage: Stage) -> Iterator[None]:
    """The Deployment has an image that nobody has pushed, set past the tool; the push puts it right."""
    layout = stage.folder / GONE
    digest = derive(stage.built, layout, stamp="gone")
    container = {"name": "engine", "image": f"{stage.registry.host}/omni/engine@{digest}"}
    body = {"spec": {"template": {"spec": {"containers": [container]}}}}
    stage.plane.api.send("PATCH", f"{DEPLOYMENT}?fieldManager=e2e", body, "application/strategic-merge-patch+json")
    yield
    stage.must("push", "--set", f"image.layout={layout}")
    for item in our_pods(stage):  # another one pulls at once
        stage.plane.api.send("DELETE", f"{PODS}/{item['metadata']['name']}")


@contextmanager
def gpus_taken(stage: Stage) -> Iterator[None]:
    """Another pod has one of the two GPUs."""
    digest = push(stage.registry.host, "tools/busybox", "1", [busybox_layer()], {"Env": ["PATH=/bin"]})
    container = {
        "name": "other",
        "image": f"{stage.registry.host}/tools/busybox@{digest}",
        "command": ["/bin/sh", "-c", "exec sleep 100000"],
        "resources": {"limits": {"nvidia.com/gpu": "1"}},
    }
    spec = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "nodeName": objects.NODE,
        "containers": [container],
    }
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "other"}, "spec": spec}
    stage.plane.api.send("POST", PODS, body)
    one = f"{PODS}/other"
    wait("the other pod running", lambda: stage.plane.api.send("GET", one)["status"]["phase"] == "Running", 60)
    try:
        yield
    finally:
        stage.plane.api.send("DELETE", one)
        wait("the other pod gone", lambda: stage.plane.api.get(one) is None, 60)


@contextmanager
def truncated(stage: Stage) -> Iterator[None]:
    """The model's file on the disk ends in the middle of its tensors; afterwards it is whole again."""
    whole = stage.folder / "model" / "tiny.gguf"
    with stage.disk.mounted() as point:
        os.truncate(point / MODEL / "tiny.gguf", whole.stat().st_size // 2)
    yield
    with stage.disk.mounted() as point:
        (point / MODEL / "tiny.gguf").write_bytes(whole.read_bytes())


@contextmanager
def no_partition(stage: Stage) -> Iterator[None]:
    """The kernel has no such partition."""
    stage.disk.remove_partition()
    try:
        yield
    finally:
        stage.disk.add_partition()


@contextmanager
def whole_disk(stage: Stage) -> Iterator[None]:
    """The name that the site gives for the partition is one of the whole disk; afterwards it is the partition's."""
    stage.disk.point_alias(stage.disk.disk)
    try:
        yield
    finally:
        stage.disk.point_alias(stage.disk.partition)


@contextmanager
def pod_refused(stage: Stage) -> Iterator[None]:
    """The namespace refuses privileged pods, and the one that ran is gone; put right as the tool says it."""
    enforce(stage, "baseline")
    for item in our_pods(stage):
        stage.plane.api.send("DELETE", f"{PODS}/{item['metadata']['name']}")
    try:
        yield
    finally:
        enforce(stage, "privileged")
        for item in (stage.plane.api.get(SETS) or {"items": []})["items"]:
            if any(one["type"] == "ReplicaFailure" for one in item["status"].get("conditions", [])):
                stage.plane.api.send("DELETE", f"{SETS}/{item['metadata']['name']}")


def enforce(stage: Stage, level: str) -> None:
    """The Pod Security standard that the engine's namespace holds its pods to."""
    labels = {"metadata": {"labels": {ENFORCE: level}}}
    stage.plane.api.send("PATCH", f"/api/v1/namespaces/{objects.NAMESPACE}", labels, MERGE)


@contextmanager
def signalled(stage: Stage, number: signal.Signals) -> Iterator[None]:
    """Every process of the engine that loads the model gets this signal."""

    def shoot() -> None:
        for process in engine_processes(stage.node.ancestor):
            with suppress(ProcessLookupError):
                os.kill(process, number)

    with meanwhile(shoot, 0.2):
        yield


BREAKS = (
    Break(
        "image never pushed",
        (*DEPLOY, "--set", f"image.layout={NEVER_PUSHED}"),
        ExitCode.APPLY,
        (
            "error: apply: the registry does not have the image (",
            "/manifests/sha256:",
            "): the new pod could not pull it; fix: ",
        ),
        image_missing,
        fresh=False,
    ),
    Break(
        "image missing in the registry",
        ("rollout", "--set", "rollout.patience_s=3"),
        ExitCode.ROLLOUT,
        ("error: the registry does not have the image ", "/omni/engine@sha256:", "; fix: leviathan push, "),
        image_gone,
        fresh=False,
    ),
    Break(
        "GPUs taken by another pod",
        DEPLOY,
        ExitCode.PREFLIGHT,
        (
            "error: preflight: preflight found a problem: gpus: nvidia.com/gpu: 2 needed, 1 of 2 free "
            f"({objects.NAMESPACE}/other uses 1); fix: ",
        ),
        gpus_taken,
    ),
    Break(
        "GPUs taken after preflight",
        (*DEPLOY, "--skip", "preflight"),
        ExitCode.ROLLOUT,
        (
            f"error: rollout: not enough free GPUs: 2 needed, {objects.NODE} has 2 in total, and other pods use them (",
            "Insufficient nvidia.com/gpu",
        ),
        gpus_taken,
    ),
    Break(
        "model truncated",
        HASTY,
        ExitCode.ROLLOUT,
        (FAILED, f"/{MODEL}/tiny.gguf: truncated: ", " are missing (the last tensor is '"),
        truncated,
    ),
    Break(
        "partition missing",
        HASTY,
        ExitCode.ROLLOUT,
        (FAILED, ": /dev/disk/by-partuuid/", " is not a block device of this node; found: "),
        no_partition,
    ),
    Break(
        "whole disk behind a lasting name",
        (*HASTY, "--set", "storage.partition={alias}"),
        ExitCode.ROLLOUT,
        (FAILED, ", got the whole disk {alias} (loop", "); its partitions: loop"),
        whole_disk,
    ),
    Break(
        "engine crashes at load",
        HASTY,
        ExitCode.ROLLOUT,
        (FAILED, ": the engine ended by SIGSEGV; fix: leviathan logs --previous"),
        partial(signalled, number=signal.SIGSEGV),
    ),
    Break(
        "engine hangs",
        (*DEPLOY, "--set", "rollout.idle_s=30"),
        ExitCode.ROLLOUT,
        ("error: rollout: the rollout makes no progress: ", "): no progress for 3", " s; fix: leviathan logs; "),
        partial(signalled, number=signal.SIGSTOP),
    ),
    Break(
        "Pod Security denies",
        ("rollout", "--set", "rollout.patience_s=3"),
        ExitCode.ROLLOUT,
        (
            "error: the namespace's Pod Security standard refuses the pod (replicaset/",
            'is forbidden: violates PodSecurity "baseline:',
            " --overwrite, then kubectl --context leviathan-e2e -n ai-workloads delete replicaset/",
        ),
        pod_refused,
        fresh=False,
    ),
)
