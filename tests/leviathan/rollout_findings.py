"""What is expected of each recording, and what the diagnosis finds in it."""

from collections.abc import Callable
from typing import Any

from rollout_support import scene

from leviathan.rollout.diagnose.diagnosis import diagnose
from leviathan.rollout.diagnose.finding import Commands, Finding, Severity
from leviathan.rollout.stage import Stage

FATAL, WAIT, NOTE = Severity.FATAL, Severity.WAIT, Severity.NOTE
#: scene → the findings, the weightiest first, and the stage.
EXPECTED: dict[str, tuple[list[tuple[str, Severity]], Stage]] = {
    "loading": ([], Stage.LOADING),
    "pulling": ([], Stage.PULLING),
    "ready": ([], Stage.READY),
    "old-pod-stays": ([], Stage.OLD_POD),
    "no-deployment": ([("no-deployment", FATAL)], Stage.NO_DEPLOYMENT),
    "paused": ([("paused", FATAL)], Stage.NO_POD),
    "no-replicas": ([("no-replicas", FATAL)], Stage.NO_POD),
    "no-service": ([("no-service", FATAL)], Stage.READY),
    "pod-security": ([("pod-security", FATAL)], Stage.NO_POD),
    "quota": ([("quota", FATAL)], Stage.NO_POD),
    "limit-range": ([("limit-range", FATAL)], Stage.NO_POD),
    "runtime-class": ([("runtime-class", FATAL)], Stage.NO_POD),
    "deadline": ([("deadline", WAIT)], Stage.LOADING),
    "stranger": ([("stranger", NOTE)], Stage.READY),
    "insufficient-gpu": ([("insufficient-gpu", FATAL)], Stage.SCHEDULING),
    "too-few-gpus": ([("insufficient-gpu", FATAL)], Stage.SCHEDULING),
    "insufficient-cpu": ([("insufficient-cpu", FATAL)], Stage.SCHEDULING),
    "insufficient-memory": ([("insufficient-memory", FATAL)], Stage.SCHEDULING),
    "node-selector": ([("no-node", FATAL), ("node-selector", FATAL)], Stage.SCHEDULING),
    "taint": ([("taint", FATAL)], Stage.SCHEDULING),
    "cordoned": ([("cordoned", FATAL)], Stage.SCHEDULING),
    "volume-unbound": ([("volume-unbound", FATAL)], Stage.SCHEDULING),
    "host-port-taken": ([("host-port-taken", FATAL)], Stage.SCHEDULING),
    "node-not-ready": ([("node-not-ready", WAIT)], Stage.LOADING),
    "image-http-registry": ([("image-http-registry", FATAL)], Stage.IMAGE),
    "image-unauthorized": ([("image-unauthorized", FATAL)], Stage.IMAGE),
    "image-certificate": ([("image-certificate", FATAL)], Stage.IMAGE),
    "registry-down": ([("registry-down", WAIT)], Stage.IMAGE),
    "registry-unreachable": ([("registry-unreachable", WAIT)], Stage.IMAGE),
    "image-not-found": ([("image-not-found", FATAL)], Stage.IMAGE),
    "image-not-found-in-an-event": ([("image-not-found", FATAL)], Stage.IMAGE),
    "partition-missing": ([("partition-missing", FATAL)], Stage.CREATING),
    "partition-filesystem": ([("partition-filesystem", FATAL)], Stage.CREATING),
    "runtime-missing": ([("runtime-missing", FATAL)], Stage.CREATING),
    "out-of-memory": ([("out-of-memory", FATAL)], Stage.DOWN),
    "out-of-memory-running-again": ([("out-of-memory", FATAL)], Stage.LOADING),
    "crash": ([("crash", FATAL)], Stage.DOWN),
    "crash-once": ([("crash", WAIT)], Stage.DOWN),
    "port-taken": ([("port-taken", FATAL)], Stage.DOWN),
    "wrong-cpu": ([("wrong-cpu", FATAL)], Stage.DOWN),
    "startup-probe": ([("startup-probe", FATAL)], Stage.LOADING),
    "liveness-probe": ([("liveness-probe", FATAL)], Stage.LOADING),
    "entry-point": ([("entry-point", FATAL)], Stage.DOWN),
    "gpu-runtime": ([("gpu-runtime", FATAL)], Stage.DOWN),
    "config-missing": ([("config-missing", FATAL)], Stage.DOWN),
    "evicted": ([("evicted", FATAL)], Stage.CREATING),
    "gpu-refused": ([("gpu-refused", FATAL)], Stage.CREATING),
}


def findings(name: str, change: Callable[[Any], None] | None = None, **more: Any) -> tuple[Finding, ...]:
    recorded = scene(name)
    if change is not None:
        change(recorded)
    return diagnose(recorded.snapshot(**more), Commands(recorded.site))
