"""Each way that a rollout can fail, as a real API server shows it: each has its own diagnosis and remedy."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import pytest
from rollout_findings import EXPECTED, FATAL, WAIT, findings
from rollout_support import LOADING, SCENES, healthy, scene

from leviathan.rollout.diagnose.diagnosis import diagnose
from leviathan.rollout.diagnose.finding import Commands
from leviathan.rollout.observe.snapshot import Health
from leviathan.rollout.stage import stage_of


def test_every_recording_is_expected_and_every_expectation_recorded() -> None:
    assert sorted(EXPECTED) == SCENES


@pytest.mark.parametrize("name", SCENES)
def test_cause_and_stage(name: str) -> None:
    expected, stage = EXPECTED[name]
    assert [(each.code, each.severity) for each in findings(name)] == expected
    assert stage_of(scene(name).snapshot()) is stage


def test_what_to_do(golden: Callable[[str, str], None]) -> None:
    """Every sentence in full: what, where, the cluster's words, the command; names that differ by run made equal."""
    lines = []
    for name in SCENES:
        lines.append(f"{name}:")
        for each in findings(name):
            text = re.sub(r"(cortex-leviathan)-[0-9a-f]+-[a-z0-9]{5}\b", r"\1-POD", each.text())
            text = re.sub(r"(cortex-leviathan)-[0-9a-f]{8,10}\b", r"\1-SET", text)
            lines.append(f"  {each.severity.value}: {text}")
    golden("rollout-findings.txt", "\n".join(lines) + "\n")


@pytest.mark.parametrize("name", SCENES)
def test_remedies_are_whole(name: str) -> None:
    """No template has a hole left, and every remedy names a command or a key that the user can act on."""
    for each in findings(name):
        assert re.search(r"leviathan|kubectl|talosctl|curl|wait|again|[a-z]+\.[a-z_]+", each.remedy), each.remedy
        assert not re.search(r"\{[a-z_]+\}", each.text()), each.text()
        assert "\n" not in each.text()


def test_context_is_in_every_kubectl() -> None:
    recorded = scene("pod-security")
    site = dataclasses.replace(recorded.site, cluster=dataclasses.replace(recorded.site.cluster, context="lab"))
    (found,) = diagnose(recorded.snapshot(), Commands(site))
    assert "kubectl --context lab label namespace ai-workloads" in found.remedy


def test_an_old_pod_that_does_not_end_is_said_after_its_grace() -> None:
    recorded = scene("old-pod-stays")
    now = recorded.snapshot().now
    assert findings("old-pod-stays", now=now + 20) == ()
    (found,) = findings("old-pod-stays", now=now + 60)
    assert (found.code, found.severity) == ("old-pod-stays", FATAL)
    assert "--force --grace-period=0" in found.remedy
    assert "only if the node is off" in found.remedy


def test_restarts_before_the_watching_do_not_count_while_it_runs() -> None:
    recorded = scene("out-of-memory-running-again")
    before = {recorded.pod["metadata"]["uid"]: 1}
    (found,) = findings("out-of-memory-running-again", restarts_before=before)
    assert found.severity is WAIT
    (found,) = findings("out-of-memory-running-again", restarts_before={})
    assert found.severity is FATAL


def test_an_eviction_with_a_new_pod_is_waited_for_once() -> None:
    """The first time the ReplicaSet's next pod may go well; the recording has a second one."""

    def change(recorded: Any) -> None:
        failed = [pod for pod in recorded.found["pods"] if pod["status"]["phase"] == "Failed"]
        recorded.found["pods"].remove(failed[0])

    assert [(each.code, each.severity) for each in findings("evicted", change)] == [("evicted", WAIT)]


def test_an_eviction_is_known_by_its_condition_alone() -> None:
    """Some kubelets leave status.reason empty."""

    def change(recorded: Any) -> None:
        for pod in recorded.found["pods"]:
            pod["status"].pop("reason", None)
            pod["status"].pop("message", None)

    (found,) = findings("evicted", change)
    assert found.code == "evicted"
    assert "because memory ran short" in found.what


def test_who_answers_at_the_node_port() -> None:
    other = healthy(404, {"detail": "Not Found"})
    (found,) = findings("ready", health=other)
    assert (found.code, found.severity) == ("port-answered-by-another", FATAL)
    assert [each.severity for each in findings("loading", health=other)] == [WAIT]
    assert findings("ready", health=healthy()) == ()
    assert findings("loading", health=healthy(503, LOADING)) == ()
    assert findings("loading", health=Health(None, {}, "the NodePort", "Connection refused")) == ()


def test_a_failed_engine_says_so_itself() -> None:
    body = LOADING | {"status": "failed", "phase": "failed", "detail": "CUDA error: out of memory"}
    (found,) = findings("loading", health=healthy(503, body))
    assert (found.code, found.why) == ("engine-failed", "CUDA error: out of memory")


def test_a_service_with_another_port_or_selector() -> None:
    def change(recorded: Any) -> None:
        spec = recorded.found["services"][0]["spec"]
        spec["ports"][0]["nodePort"] = 31111
        spec["selector"] = {"app": "other"}

    assert [each.code for each in findings("ready", change)] == ["node-port", "service-selector"]


def test_what_may_not_be_read_is_not_called_missing() -> None:
    hidden: dict[str, Any] = {"node": None, "service": None, "unreadable": frozenset({"nodes", "services"})}
    assert findings("ready", **hidden) == ()
    assert {each.code for each in findings("ready", node=None, service=None)} == {"no-node", "no-service"}


def test_pressure_of_the_node() -> None:
    def change(recorded: Any) -> None:
        pressure = {"type": "DiskPressure", "status": "True", "message": "kubelet has disk pressure"}
        conditions = recorded.found["nodes"][0]["status"]["conditions"]
        conditions[:] = [*(each for each in conditions if each["type"] != "DiskPressure"), pressure]

    (found,) = findings("loading", change)
    assert (found.code, found.what) == ("node-pressure", "the node is short of disk space")
