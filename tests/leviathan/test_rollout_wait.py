"""`leviathan rollout` over HTTP: against an API server that replays recordings and serves /health too."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.replay_api import Answer, ReplayApi
from rollout_stage import LOG, Stage, impatient
from rollout_support import LOADING, READY, bookmark, cluster_of, list_answer, scene

from leviathan.cli import main as program
from leviathan.cluster.client import ClusterError
from leviathan.cluster.objects import name_of
from leviathan.errors import ExitCode
from leviathan.rollout import wait as wait_module
from leviathan.rollout.judge import Outcome
from leviathan.rollout.observe.reader import collections


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayApi]:
    yield from impatient(monkeypatch)


def test_healthy(server: ReplayApi, tmp_path: Path) -> None:
    stage = Stage(server, "ready", tmp_path)
    stage.health(Answer(503, body=LOADING), Answer(body=READY))
    done = stage.run()
    assert done.reached
    assert done.text().splitlines()[1] == f"{server.address}/health is 200, the model took 6 min 52 s to load"
    assert f"pod/{name_of(stage.scene.pod)} is ready on talos-u8k-rze" in done.text()
    assert json.loads(json.dumps(done.data()))["health_reached"] is True
    assert {each.method for each in server.asked} == {"GET"}  # it changes nothing


def test_from_loading_to_healthy(server: ReplayApi, tmp_path: Path) -> None:
    """The watch brings the pod that is ready; the talk has the way there."""
    stage = Stage(server, "loading", tmp_path)
    stage.health(*[Answer(503, body=LOADING)] * 10, Answer(body=READY))
    stage.log(LOG)
    later = scene("ready")
    pod, deployment = stage.scene.pod, stage.scene.found["deployments"][0]
    changed = {
        "pods": pod | {"status": later.pod["status"]},
        "deployments": deployment | {"status": later.found["deployments"][0]["status"]},
    }
    for kind, (path, _) in collections(stage.scene.site).items():
        lines = ({"type": "MODIFIED", "object": changed[kind]},) if kind in changed else (bookmark(kind),)
        server.add("GET", path, list_answer(kind, stage.scene.found[kind]), limit="500")
        server.add("GET", path, Answer(lines=(*lines, bookmark(kind)), between_s=0.8), watch="true")
    done = stage.run(serve=False)
    assert done.reached
    talk = stage.talk.getvalue()
    assert "loading, layer 12 of 61, 19.8 %" in talk
    assert "event: pod/" in talk
    assert "Pulling: Pulling image" in talk


def test_an_address_that_is_not_reached(server: ReplayApi, tmp_path: Path) -> None:
    """The pod is Ready and says so itself, through the API server: that is success, and said."""
    stage = Stage(server, "ready", tmp_path)
    stage.health()
    stage.inside(Answer(body=READY))
    done = stage.run()
    assert not done.reached
    assert done.inner_ok
    assert "cannot be reached from here: Connection refused; through the API server it is 200" in done.text()
    assert f"curl -i {done.endpoint}/health" in done.text()


def test_load_progress_comes_through_the_api_where_the_port_is_closed(server: ReplayApi, tmp_path: Path) -> None:
    """While it loads, the pod is not Ready and its Service refuses: the API server's proxy sees the progress."""
    stage = Stage(server, "loading", tmp_path)
    stage.health()
    stage.inside(*(Answer(503, body=LOADING | {"layers_loaded": layer}) for layer in range(12, 40)))
    stage.log(LOG)
    error = stage.failure("loading, layer 39 of 61")
    assert error.outcome is Outcome.OVERTIME
    assert "--timeout SECONDS" in error.remedy


def test_the_api_servers_own_error_is_no_answer_of_the_engine(server: ReplayApi, tmp_path: Path) -> None:
    stage = Stage(server, "ready", tmp_path)
    stage.health()
    status = {"kind": "Status", "code": 503, "message": "error trying to reach service: dial tcp: refused"}
    stage.inside(Answer(503, body=status))
    done = stage.run()
    assert not done.inner_ok


def test_a_crash_ends_with_what_to_do_and_the_last_lines(server: ReplayApi, tmp_path: Path) -> None:
    stage = Stage(server, "crash", tmp_path)
    stage.health()
    stage.log(LOG[-50:])
    error = stage.failure()
    assert error.exit_code is ExitCode.ROLLOUT
    assert error.line().startswith("the engine failed; 3 restarts (pod/cortex-leviathan-")
    assert "no GGUF file: name the folder of the GGUF files; fix: leviathan logs --previous" in error.line()
    assert list(error.log) == LOG[-50:]
    talk = stage.talk.getvalue().splitlines()
    assert talk[-51].startswith("the last 50 lines of pod/cortex-leviathan-")
    assert talk[-1] == "  | line 59"
    (asked,) = [each for each in server.asked if each.path.endswith("/log")]
    assert asked.query == {"container": "engine", "tailLines": "50"}
    report = json.loads(json.dumps(error.report()))
    assert (report["outcome"], report["exit_code"]) == ("fatal", 7)
    assert [each["code"] for each in report["findings"]] == ["crash"]


def test_of_an_engine_that_runs_again_the_log_before_is_shown(server: ReplayApi, tmp_path: Path) -> None:
    stage = Stage(server, "startup-probe", tmp_path)
    stage.health(Answer(503, body=LOADING))
    stage.log(["before"])
    error = stage.failure("loading, layer 12 of 61")
    assert error.log == ("before",)
    assert " before its last restart:" in stage.talk.getvalue()
    assert "true" in [each.query.get("previous") for each in server.asked if each.path.endswith("/log")]


def test_no_log_is_no_second_failure(server: ReplayApi, tmp_path: Path) -> None:
    stage = Stage(server, "image-not-found", tmp_path)
    stage.health()
    message = 'container "engine" in pod "x" is waiting to start: trying and failing to pull image'
    body = {"kind": "Status", "code": 400, "reason": "BadRequest", "message": message}
    server.add("GET", stage.pod_path("/log"), Answer(400, body=body))
    error = stage.failure()
    assert error.log == ()
    assert "the registry does not have the image" in error.line()


def test_what_may_go_away_is_waited_for(server: ReplayApi, tmp_path: Path) -> None:
    stage = Stage(server, "registry-down", tmp_path, timeout_s=80_000)
    stage.health()
    error = stage.failure("wait: the registry refuses connections")
    assert error.outcome is Outcome.IDLE
    assert error.why.startswith("no progress for 2 h 4")
    assert "; ImagePullBackOff: ErrImagePull" in error.why


def test_nothing_known_says_whose_turn_it_is(server: ReplayApi, tmp_path: Path) -> None:
    stage = Stage(server, "old-pod-stays", tmp_path)
    for each in stage.scene.found["pods"]:
        each["metadata"]["deletionTimestamp"] = "2100-01-01T00:00:00Z"
    stage.health()
    error = stage.failure("waiting for the old pod to end")
    assert error.what.startswith("the rollout makes no progress: waiting for the old pod to end")
    assert "kubectl -n ai-workloads get pods -l app=leviathan-671b" in error.remedy


def test_a_cluster_that_is_not_there_is_said_at_once(server: ReplayApi, tmp_path: Path) -> None:
    stage = Stage(server, "ready", tmp_path)
    stage.health()
    path, _ = collections(stage.scene.site)["deployments"]
    server.add("GET", path, Answer(401, body={"kind": "Status", "code": 401, "message": "Unauthorized"}))
    with pytest.raises(ClusterError) as caught:
        stage.run(serve=False)
    assert caught.value.exit_code is ExitCode.ROLLOUT
    assert caught.value.status == 401


def test_the_command_exits_with_7_and_the_findings_as_json(
    server: ReplayApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stage = Stage(server, "pod-security", tmp_path)
    stage.scene.serve(server)
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
    monkeypatch.chdir(tmp_path)
    settings = ["--set", "cluster.address=127.0.0.1", "--set", "rollout.patience_s=0"]
    assert program.run(["rollout", "--json", "--timeout", "200", *settings]) == 7
    out, err = capsys.readouterr()
    error = json.loads(out)["error"]
    assert [each["code"] for each in error["findings"]] == ["pod-security"]
    assert error["exit_code"] == 7
    assert err.splitlines()[-1].startswith("error: the namespace's Pod Security standard refuses the pod")


def test_log_of_a_node_that_does_not_answer_is_given_up_soon(server: ReplayApi, tmp_path: Path) -> None:
    """The reason must not wait for a log that does not come: the client's own patience would be a minute and a half."""
    recorded = scene("out-of-memory")
    stage = Stage(server, "out-of-memory", tmp_path)
    body = {"kind": "Status", "code": 500, "message": "dial tcp 192.168.3.2:10250: connect: no route to host"}
    server.add("GET", stage.pod_path("/log"), Answer(500, body=body))
    began = time.monotonic()
    assert wait_module.tail(recorded.site, cluster_of(server, tmp_path, again_s=90), recorded.snapshot()) == ("", [])
    assert time.monotonic() - began < 15
