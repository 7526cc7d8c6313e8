"""`leviathan logs`: of the right pod, followed across a connection that breaks, with words where there is none."""

import copy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.replay_api import Answer, ReplayApi
from push_support import Talk
from rollout_support import Scene, cluster_of, list_answer, scene

from leviathan.cli import main as program
from leviathan.cluster.client import ClusterError
from leviathan.cluster.engine_pod import find_pod
from leviathan.cluster.objects import name_of
from leviathan.errors import LeviathanError
from leviathan.rollout import engine_log
from leviathan.terminal.output import Console

PODS = "/api/v1/namespaces/ai-workloads/pods"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayApi]:
    monkeypatch.setattr(engine_log, "PAUSE_S", 0.01)
    replay = ReplayApi()
    yield replay
    replay.close()


def serve(server: ReplayApi, recorded: Scene, *states: dict[str, Any]) -> str:
    """The pods as recorded, and the newest in these states, one after the other; the path of the newest."""
    path = f"{PODS}/{name_of(recorded.pod)}"
    server.add("GET", PODS, list_answer("pods", recorded.found["pods"]))
    if states:
        server.add("GET", path, *(Answer(body=state) for state in states))
    return path


def asked(server: ReplayApi) -> list[dict[str, str]]:
    return [each.query for each in server.asked if each.path.endswith("/log")]


def test_lines(server: ReplayApi, tmp_path: Path) -> None:
    recorded = scene("loading")
    path = serve(server, recorded)
    server.add("GET", f"{path}/log", Answer(text="one\ntwo\n"))
    pod, lines = engine_log.read(recorded.site, cluster_of(server, tmp_path), previous=False, tail=2)
    assert (name_of(pod), lines) == (name_of(recorded.pod), ["one", "two"])
    assert asked(server) == [{"container": "engine", "tailLines": "2"}]
    assert server.asked[0].query["labelSelector"] == "app=leviathan-671b"


def test_a_node_that_is_away_is_said_soon(server: ReplayApi, tmp_path: Path) -> None:
    """As patient as the tool is with an API server, it would be silent for a minute and a half."""
    recorded = scene("loading")
    path = serve(server, recorded)
    dial = 'Get "https://192.168.3.2:10250/containerLogs/x": dial tcp 192.168.3.2:10250: connect: no route to host'
    server.add("GET", f"{path}/log", Answer(500, body={"kind": "Status", "code": 500, "message": dial}))
    began = time.monotonic()
    with pytest.raises(
        ClusterError, match=r"cannot get the log of .* from its node .*no route to host; fix: check that the node is up"
    ) as error:
        engine_log.read(recorded.site, cluster_of(server, tmp_path, again_s=90), previous=False, tail=None)
    assert time.monotonic() - began < 15
    assert error.value.status == 500


def test_previous(server: ReplayApi, tmp_path: Path) -> None:
    recorded = scene("crash")
    path = serve(server, recorded)
    server.add("GET", f"{path}/log", Answer(text="before\n"))
    assert engine_log.read(recorded.site, cluster_of(server, tmp_path), previous=True, tail=None)[1] == ["before"]
    assert asked(server) == [{"container": "engine", "previous": "true"}]


def test_a_living_pod_before_those_that_have_failed(server: ReplayApi, tmp_path: Path) -> None:
    recorded = scene("evicted")
    serve(server, recorded)
    pod = find_pod(recorded.site, cluster_of(server, tmp_path))
    assert pod["status"]["phase"] == "Pending"
    assert sum(each["status"]["phase"] == "Failed" for each in recorded.found["pods"]) == 2


@pytest.mark.parametrize("previous", [False, True])
def test_no_log(previous: bool, server: ReplayApi, tmp_path: Path) -> None:
    recorded = scene("image-not-found")
    path = serve(server, recorded)
    message = "container is waiting to start: trying and failing to pull image"
    body = {"kind": "Status", "code": 400, "reason": "BadRequest", "message": message}
    server.add("GET", f"{path}/log", Answer(400, body=body))
    with pytest.raises(LeviathanError) as caught:
        engine_log.read(recorded.site, cluster_of(server, tmp_path), previous=previous, tail=None)
    assert caught.value.what == ("the engine has no earlier log" if previous else "the engine has no log yet")
    assert caught.value.why == message
    assert caught.value.remedy


def test_no_pod(server: ReplayApi, tmp_path: Path) -> None:
    recorded = scene("no-deployment")
    server.add("GET", PODS, list_answer("pods", []))
    with pytest.raises(LeviathanError, match=r"the engine has no pod .*leviathan status"):
        engine_log.read(recorded.site, cluster_of(server, tmp_path), previous=False, tail=None)


def test_follow_goes_on_after_a_break_and_says_how_it_ended(server: ReplayApi, tmp_path: Path) -> None:
    recorded = scene("loading")
    ended = copy.deepcopy(recorded.pod)
    how = {"exitCode": 1, "reason": "Error", "message": "error: no GGUF file: name the folder\n"}
    ended["status"]["containerStatuses"][0]["state"] = {"terminated": how}
    path = serve(server, recorded, recorded.pod, ended)
    server.add("GET", f"{path}/log", Answer(lines=("one", "two"), cut=True), Answer(lines=("two", "three")))
    talk, written = Talk(), list[str]()
    engine_log.follow(recorded.site, cluster_of(server, tmp_path), Console(talk), written.append, tail=5)
    assert written == ["one", "two", "two", "three"]
    said = talk.getvalue().splitlines()
    assert said[0].startswith("the connection broke; resuming with the log of the last ")
    assert said[1].endswith("the engine has ended: Error, exit code 1: error: no GGUF file: name the folder")
    first, second = asked(server)
    assert first == {"container": "engine", "follow": "true", "tailLines": "5"}
    assert second.keys() == {"container", "follow", "sinceSeconds"}


def test_follow_counts_breaks_since_the_last_line(
    server: ReplayApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load of an hour through a connection that breaks now and then is followed to its end."""
    monkeypatch.setattr(engine_log, "TRIES", 3)
    recorded = scene("loading")
    ended = copy.deepcopy(recorded.pod)
    ended["status"]["containerStatuses"][0]["state"] = {"terminated": {"exitCode": 0, "reason": "Completed"}}
    broken, silent = (Answer(lines=lines, cut=True) for lines in (("a line",), ()))
    path = serve(server, recorded, *[recorded.pod] * 6, ended)
    server.add("GET", f"{path}/log", *[broken, silent] * 3, broken)
    written = list[str]()
    engine_log.follow(recorded.site, cluster_of(server, tmp_path), Console(Talk()), written.append, tail=None)
    assert written == ["a line"] * 4
    server.exchanges = [each for each in server.exchanges if not each.path.startswith(path)]
    server.add("GET", path, Answer(body=recorded.pod))
    server.add("GET", f"{path}/log", silent)
    with pytest.raises(LeviathanError, match="broke 3 times in a row"):
        engine_log.follow(recorded.site, cluster_of(server, tmp_path), Console(Talk()), written.append, tail=None)
    assert len(written) == 4


def test_follow_ends_when_the_engine_was_restarted_or_the_pod_is_gone(server: ReplayApi, tmp_path: Path) -> None:
    recorded, again = scene("loading"), scene("startup-probe")
    status = recorded.pod | {"status": again.pod["status"]}
    path = serve(server, recorded, status)
    server.add("GET", f"{path}/log", Answer(lines=("one",)))
    talk = Talk()
    engine_log.follow(recorded.site, cluster_of(server, tmp_path), Console(talk), lambda line: None, tail=None)
    assert "the engine was restarted: Completed, exit code 0" in talk.getvalue()
    server.exchanges = [each for each in server.exchanges if each.path != path]
    server.add("GET", path, Answer(404, body={"kind": "Status", "code": 404, "reason": "NotFound", "message": "gone"}))
    engine_log.follow(recorded.site, cluster_of(server, tmp_path), Console(talk), lambda line: None, tail=None)
    assert talk.getvalue().endswith(f"pod/{name_of(recorded.pod)} is gone\n")


def test_the_command(
    server: ReplayApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = scene("crash")
    path = serve(server, recorded, recorded.pod)
    server.add("GET", f"{path}/log", Answer(text="one\ntwo\n"))
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
    monkeypatch.chdir(tmp_path)
    assert program.run(["logs"]) == 0
    assert capsys.readouterr().out == "one\ntwo\n"
    assert program.run(["logs", "--json"]) == 0
    assert '"lines": [\n    "one",\n    "two"\n  ]' in capsys.readouterr().out
    assert program.run(["logs", "-f"]) == 0
    out, err = capsys.readouterr()
    assert out == "one\ntwo\n"
    assert "the engine does not run: CrashLoopBackOff" in err
    assert program.run(["logs", "-f", "--previous"]) == 2
    assert "--follow cannot be used with --previous; fix: remove --follow or --previous" in capsys.readouterr().err
