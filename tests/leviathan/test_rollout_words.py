"""Words of kubelet, containerd and admission that have no recording of their own, put into one that is near."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rollout_support import Scene, scene

from leviathan.rollout.diagnose import container, deployment, image_pull, node, scheduling, volume
from leviathan.rollout.diagnose.diagnosis import diagnose
from leviathan.rollout.diagnose.finding import Commands

TABLES = (
    *deployment.REFUSALS,
    *scheduling.CASES,
    *image_pull.CASES,
    *volume.MOUNTS,
    *volume.SANDBOXES,
    *node.LOST,
    *container.CANNOT_RUN,
    *container.ENDS,
)


def test_every_case_of_the_tables_is_expected_by_a_test() -> None:
    here = Path(__file__).parent
    texts = "".join(path.read_text() for path in (*here.glob("test_rollout_*.py"), here / "rollout_findings.py"))
    expected = [case.code.replace("{resource}", "memory") for case in TABLES]
    assert len(expected) > 60
    assert [code for code in expected if f'"{code}"' not in texts] == []


def codes(name: str, change: Callable[[Scene], None]) -> list[str]:
    recorded = scene(name)
    change(recorded)
    return [each.code for each in diagnose(recorded.snapshot(), Commands(recorded.site))]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('pods "x" is forbidden: failed quota: team: must specify limits.cpu for: engine', "quota-wants"),
        ('Internal error occurred: failed calling webhook "w": connection refused', "webhook"),
        ('admission webhook "w" denied the request: no', "webhook-denied"),
        ('pods "x" is forbidden: error looking up service account a/default: not found', "service-account"),
        ("unable to create new content in namespace a because it is being terminated", "namespace-ending"),
        ("something unheard of", "failed-create"),
    ],
)
def test_refusals(message: str, code: str) -> None:
    def change(recorded: Scene) -> None:
        for kind in ("deployments", "replicasets"):
            for each in recorded.found[kind]:
                for condition in each["status"]["conditions"]:
                    if condition["type"] == "ReplicaFailure":
                        condition["message"] = message

    assert codes("quota", change) == [code]


def test_a_refusal_is_seen_in_the_event_before_the_condition_is_written() -> None:
    def change(recorded: Scene) -> None:
        for kind in ("deployments", "replicasets"):
            for each in recorded.found[kind]:
                each["status"]["conditions"] = []

    assert codes("pod-security", change) == ["pod-security"]


def test_a_refusal_of_the_past_is_none() -> None:
    """The event stays for an hour; the pod that has been made since tells that it is over."""

    def change(recorded: Scene) -> None:
        change_conditions(recorded)
        made = dict(recorded.found["events"][-1]) | {"reason": "SuccessfulCreate", "type": "Normal"}
        (failed,) = {each["involvedObject"]["uid"]: each for each in failures(recorded)}.values()
        made |= {"involvedObject": failed["involvedObject"], "lastTimestamp": "2100-01-01T00:00:00Z"}
        recorded.found["events"].append(made)

    def change_conditions(recorded: Scene) -> None:
        for kind in ("deployments", "replicasets"):
            for each in recorded.found[kind]:
                each["status"]["conditions"] = []

    def failures(recorded: Scene) -> list[dict[str, Any]]:
        return [each for each in recorded.found["events"] if each["reason"] == "FailedCreate"]

    assert codes("pod-security", change) == []
    assert codes("pod-security", change_conditions) == ["pod-security"]


@pytest.mark.parametrize(
    ("reason", "message", "code"),
    [
        (
            "Evicted",
            "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi, available: 0.",
            "evicted",
        ),
        ("Evicted", 'Usage of EmptyDir volume "state" exceeds the limit "8Gi". ', "evicted"),
        ("OutOfnvidia.com/gpu", "Pod was rejected: Node didn't have enough resource: nvidia.com/gpu", "gpu-refused"),
        ("OutOfmemory", "Pod was rejected: Node didn't have enough resource: memory", "node-refused"),
        ("NodePorts", "Pod was rejected: Predicate NodePorts failed", "host-port-taken"),
        ("NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed", "node-refused"),
        ("Terminated", "Pod was terminated in response to imminent node shutdown.", "node-shutdown"),
        ("Preempting", "Preempted in order to admit critical pod", "preempted"),
        ("Odd", "something unheard of", "pod-failed"),
    ],
)
def test_pods_that_are_lost(reason: str, message: str, code: str) -> None:
    def change(recorded: Scene) -> None:
        for pod in recorded.found["pods"]:
            if pod["status"]["phase"] == "Failed":
                pod["status"] |= {"reason": reason, "message": message}

    assert codes("gpu-refused", change) == [code]


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        ({"exitCode": 137, "reason": "Error"}, "killed"),
        ({"exitCode": 132, "reason": "Error"}, "wrong-cpu"),
        ({"exitCode": 2, "reason": "Error", "message": "error: --gpu_split: see --help\n"}, "engine-usage"),
        ({"exitCode": 0, "reason": "Completed"}, "engine-ended"),
        ({"exitCode": 139, "reason": "Error"}, "crash"),
        ({"exitCode": 128, "reason": "ContainerCannotRun", "message": "no such file or directory"}, "entry-point"),
    ],
)
def test_ends_of_the_container(ended: dict[str, Any], code: str) -> None:
    def change(recorded: Scene) -> None:
        recorded.pod["status"]["containerStatuses"][0]["lastState"] = {"terminated": ended}

    assert codes("crash", change) == [code]


def test_a_kill_by_a_probe_is_not_taken_for_a_crash_of_the_engine() -> None:
    """The event of an earlier kill stays; the engine that later fails without a probe has its own reason."""

    def change(recorded: Scene) -> None:
        ended = {"exitCode": 1, "reason": "Error", "message": "error: no GGUF file\n"}
        recorded.pod["status"]["containerStatuses"][0]["lastState"] = {"terminated": ended}

    assert codes("startup-probe", change) == ["crash"]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("container has runAsNonRoot and image will run as root", "runs-as-root"),
        ('configmap "leviathan-env" not found', "config-missing"),
        ("unresolvable CDI devices nvidia.com/gpu=0", "gpu-runtime"),
        ("memory limit too low", "container-memory"),
        ("something unheard of", "cannot-run"),
    ],
)
def test_containers_that_cannot_be_made(message: str, code: str) -> None:
    def change(recorded: Scene) -> None:
        recorded.pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"] = message

    assert codes("config-missing", change) == [code]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('failed to setup network for sandbox "x": plugin type="flannel" failed', "pod-network"),
        ("something unheard of", "sandbox"),
    ],
)
def test_sandboxes(message: str, code: str) -> None:
    def change(recorded: Scene) -> None:
        for each in recorded.found["events"]:
            if each["reason"] == "FailedCreatePodSandBox":
                each["message"] = message

    assert codes("runtime-missing", change) == [code]
