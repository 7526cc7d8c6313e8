"""When a rollout is over: healthy, a reason that lasts, no change, no time left. Time is a number here."""

import dataclasses
from typing import Any

import pytest
from rollout_support import LOADING, READY, healthy, scene, waits

from leviathan.rollout.diagnose.diagnosis import diagnose
from leviathan.rollout.diagnose.finding import Commands
from leviathan.rollout.judge import REACH_S, Judge, Outcome, Verdict
from leviathan.rollout.observe.snapshot import Health, Snapshot
from leviathan.rollout.stage import Stage, fingerprint, line_of, silence_s, stage_of
from leviathan.site.schema import Site

REFUSED = Health(None, {}, "the NodePort", "Connection refused")


class Course:
    """A judge that sees snapshots of one site; `at` gives the verdict at a second."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.judge = Judge(site, 0.0)

    def at(self, second: float, snapshot: Snapshot) -> Verdict | None:
        return self.judge.judge(snapshot, diagnose(snapshot, Commands(self.site)), second)


def course(name: str, **more: Any) -> tuple[Course, Snapshot]:
    recorded = scene(name)
    return Course(recorded.site), recorded.snapshot(**more)


def test_ready_and_200_is_healthy_at_once() -> None:
    run, snapshot = course("ready", health=healthy())
    assert run.at(1, snapshot) == Verdict(Outcome.HEALTHY)


def test_ready_alone_is_not_healthy() -> None:
    run, snapshot = course("ready", health=healthy(503, LOADING))
    assert run.at(1, snapshot) is None
    assert run.at(2, dataclasses.replace(snapshot, health=None)) is None
    assert run.at(3, dataclasses.replace(snapshot, health=healthy(200, {"hello": "world"}))) is None


@pytest.mark.parametrize("field", ["observedGeneration", "updatedReplicas", "availableReplicas", "replicas"])
def test_200_alone_is_not_healthy(field: str) -> None:
    """A 200 from an old pod does not prove the new revision: the Deployment must have counted the new pod alone."""
    recorded = scene("ready")
    status = recorded.found["deployments"][0]["status"]
    status[field] = {"observedGeneration": 0, "replicas": 2}.get(field, 0)
    assert Course(recorded.site).at(1, recorded.snapshot(health=healthy())) is None


def test_an_old_pod_that_is_left_is_not_healthy() -> None:
    run, snapshot = course("old-pod-stays", health=healthy())
    assert snapshot.old_pods
    assert run.at(1, snapshot) is None


def test_an_address_that_is_not_reached_is_success_after_a_while() -> None:
    run, snapshot = course("ready", health=REFUSED)
    assert run.at(0, snapshot) is None
    assert run.at(REACH_S - 1, snapshot) is None
    assert run.at(REACH_S, snapshot) == Verdict(Outcome.UNSEEN, "Connection refused")


def test_an_address_that_is_not_reached_is_no_excuse_for_an_engine_that_says_no() -> None:
    inner = Health(503, LOADING | {"status": "failed"}, "the API server")
    run, snapshot = course("ready", health=REFUSED, inner=inner)
    run.at(0, snapshot)
    assert run.at(REACH_S, snapshot) is None
    assert run.at(REACH_S + 1, dataclasses.replace(snapshot, inner=Health(200, READY, "the API server"))) is not None


def test_the_time_until_the_port_opens_begins_anew_when_the_pod_is_not_ready() -> None:
    run, snapshot = course("ready", health=REFUSED)
    run.at(0, snapshot)
    assert run.at(20, scene("loading").snapshot(health=REFUSED)) is None
    assert run.at(REACH_S + 5, snapshot) is None


def test_a_fatal_reason_must_last() -> None:
    run, snapshot = course("image-not-found")
    patience = run.site.rollout.patience_s
    assert run.at(0, snapshot) is None
    assert run.at(patience - 1, snapshot) is None
    verdict = run.at(patience, snapshot)
    assert verdict is not None
    assert verdict.outcome is Outcome.FATAL
    assert "does not have the image" in verdict.why


def test_a_fatal_reason_that_goes_away_begins_anew() -> None:
    run, snapshot = course("image-not-found")
    run.at(0, snapshot)
    run.at(10, scene("pulling").snapshot())
    assert run.at(21, snapshot) is None
    assert run.at(41, snapshot) is not None


def test_nothing_is_given_up_for_on_old_news() -> None:
    """While the API server does not answer, a reason may have gone away unseen."""
    run, snapshot = course("image-not-found")
    run.at(0, snapshot)
    assert run.at(60, dataclasses.replace(snapshot, silent_s=15)) is None
    assert run.at(61, snapshot) is not None


def test_no_change_is_given_up_after_the_idle_time() -> None:
    run, snapshot = course("registry-down")
    idle = run.site.rollout.idle_s
    run.at(0, snapshot)
    assert run.at(idle - 1, snapshot) is None
    verdict = run.at(idle, snapshot)
    assert verdict is not None
    assert (verdict.outcome, verdict.why) == (Outcome.IDLE, "no progress for 5 min 0 s")


def test_bytes_that_are_loaded_are_a_change() -> None:
    run, snapshot = course("loading", health=healthy(503, LOADING))
    run = Course(waits(run.site, timeout_s=5000))
    for second in range(0, 3000, 200):
        moved = healthy(503, LOADING | {"bytes_loaded": second})
        assert run.at(second, dataclasses.replace(snapshot, health=moved)) is None
    assert (
        run.at(3200, dataclasses.replace(snapshot, health=healthy(503, LOADING | {"bytes_loaded": 2800}))) is not None
    )


def test_the_engines_clock_is_no_change() -> None:
    _, snapshot = course("loading", health=healthy(503, LOADING))
    later = healthy(503, LOADING | {"seconds": 99.0, "estimate_seconds": 1.0})
    assert fingerprint(dataclasses.replace(snapshot, health=later)) == fingerprint(snapshot)
    further = healthy(503, LOADING | {"layers_loaded": 13})
    assert fingerprint(dataclasses.replace(snapshot, health=further)) != fingerprint(snapshot)


def test_back_and_forth_of_a_pull_is_no_change() -> None:
    recorded = scene("image-not-found")
    before = fingerprint(recorded.snapshot())
    waiting = recorded.pod["status"]["containerStatuses"][0]["state"]["waiting"]
    waiting["reason"] = "ErrImagePull"
    assert fingerprint(recorded.snapshot()) == before
    waiting["reason"] = "ContainerCreating"
    assert fingerprint(recorded.snapshot()) != before


def test_a_line_of_the_log_and_a_restart_are_changes() -> None:
    recorded = scene("loading")
    before = fingerprint(recorded.snapshot())
    assert fingerprint(recorded.snapshot(last_log="leviathan: reading")) != before
    recorded.pod["status"]["containerStatuses"][0]["restartCount"] = 1
    assert fingerprint(recorded.snapshot()) != before


def test_what_is_silent_by_nature_has_the_time_of_the_budget() -> None:
    run, loading = course("loading")
    budget = run.judge.budget
    assert silence_s(loading, run.site, budget) == budget.startup_s > run.site.rollout.idle_s
    seen = dataclasses.replace(loading, health=healthy(503, LOADING))
    assert silence_s(seen, run.site, budget) == run.site.rollout.idle_s
    hasty = waits(run.site, idle_s=10)
    assert silence_s(scene("pulling").snapshot(), hasty, budget) == budget.pull_s
    assert silence_s(scene("old-pod-stays").snapshot(), hasty, budget) == budget.end_s
    assert silence_s(scene("taint").snapshot(), hasty, budget) == 10


def test_the_whole_time_is_the_start_budget_or_what_is_given() -> None:
    run, snapshot = course("loading")
    limit = run.judge.budget.progress_deadline_s
    assert run.judge.limit_s == limit
    for second in range(0, limit, 100):
        assert run.at(second, dataclasses.replace(snapshot, last_log=str(second))) is None
    verdict = run.at(limit, dataclasses.replace(snapshot, last_log="more"))
    assert verdict is not None
    assert verdict.outcome is Outcome.OVERTIME
    assert Judge(waits(run.site, timeout_s=77), 0).limit_s == 77


def test_lines_of_the_stages() -> None:
    assert line_of(scene("pulling").snapshot()) == "pulling the image"
    assert line_of(scene("loading").snapshot()) == "loading"
    told = line_of(scene("loading").snapshot(health=healthy(503, LOADING)))
    assert told == "loading, layer 12 of 61, 19.8 %, 80.00 GB of 404.00 GB, about 5 min 29 s left"
    assert line_of(scene("crash").snapshot()) == "waiting for the engine to be restarted; 3 restarts"
    assert line_of(scene("old-pod-stays").snapshot()).startswith("waiting for the old pod to end: cortex-leviathan-")


def test_a_deployment_that_was_not_seen_has_no_new_pod() -> None:
    recorded = scene("ready")
    recorded.found["deployments"][0]["metadata"]["generation"] = 99
    snapshot = recorded.snapshot()
    assert stage_of(snapshot) is Stage.UNSEEN
    assert snapshot.replica_set is None
    assert not snapshot.ready
