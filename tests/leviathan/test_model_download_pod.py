"""The download gate and the states of the pod: what it says of each, and that it follows a pod that restarts."""

import json
import threading
import time
from pathlib import Path

import pytest
from fakes.log_api import NAME, SPACE, LogApi
from model_support import DONE, joined, recorded, site
from model_wait import failure, meanwhile, wait
from push_support import Talk

from leviathan.cluster.client import RetryPolicy
from leviathan.model.download_wait import wait_for_download
from leviathan.model.downloaded import DownloadOutcome
from leviathan.terminal.output import Console


@pytest.mark.parametrize("said", [True, False])
def test_a_pod_that_succeeded(said: bool, tmp_path: Path) -> None:
    api = LogApi(recorded("succeeded"))
    api.ended = True
    api.write(DONE if said else "bye")
    with api.serve():
        done = wait(api, tmp_path)
    assert done.how is (DownloadOutcome.ALREADY if said else DownloadOutcome.ENDED)


def test_a_pod_that_succeeded_and_whose_log_is_gone(tmp_path: Path) -> None:
    api = LogApi(recorded("succeeded"))
    api.statuses = [404]
    with api.serve():
        assert wait(api, tmp_path).how is DownloadOutcome.ENDED


@pytest.mark.parametrize("restarts", [0, 1])
def test_a_pod_that_succeeded_on_a_node_that_is_away(restarts: int, tmp_path: Path) -> None:
    """Its log is not needed, so it is not waited for as an API server would be, and the reason is said."""
    pod = json.loads(json.dumps(recorded("succeeded")))
    pod["status"]["containerStatuses"][0]["restartCount"] = restarts
    api = LogApi(pod)
    api.statuses = [500] * 100
    wanted = site()
    cluster = joined(api, tmp_path, wanted)
    cluster.transport.patience = RetryPolicy()  # as it is for a user: 90 s for an API server that has answered before
    with api.serve():
        began = time.monotonic()
        done = wait_for_download(wanted, cluster, Console(Talk()))
        seconds = time.monotonic() - began
    assert done.how is DownloadOutcome.ENDED
    assert done.text() == (
        f"the pod {SPACE}/{NAME} has succeeded (the API server cannot get the log of pods/{NAME} from its node: no log)"
    )
    assert done.data()["log_unread"].startswith("the API server cannot get the log of ")
    assert seconds < 20


def test_a_download_on_a_node_that_is_away_says_so(tmp_path: Path) -> None:
    api, talk = LogApi(recorded("running")), Talk()
    api.statuses = [200] + [502] * 100
    api.write("1%")
    error = failure(api, tmp_path, talk, model__idle_s="4")
    assert error.what == "the download makes no progress"
    told = f"model: the API server cannot get the log of pods/{NAME} from its node (no log); retrying"
    assert talk.getvalue().count(told) == 1


def test_no_pod(tmp_path: Path) -> None:
    error = failure(LogApi(recorded("missing")), tmp_path)
    assert error.what == "the pod that downloads the model does not exist"
    assert f"kubectl --context lab -n {SPACE} get pods" in error.remedy


def test_a_pod_that_failed_shows_its_last_lines(tmp_path: Path) -> None:
    api = LogApi(recorded("failed"))
    api.ended = True
    api.write("writing part 3")
    api.write("No space left on device")
    talk = Talk()
    error = failure(api, tmp_path, talk)
    assert error.what == "the download failed"
    assert error.why == "Error, exit 1: disk full; its last line: No space left on device"
    assert "  | writing part 3\n  | No space left on device\n" in talk.getvalue()


def test_a_pod_that_failed_after_it_was_done_is_done(tmp_path: Path) -> None:
    api = LogApi(recorded("failed"))
    api.ended = True
    api.write(DONE)
    with api.serve():
        assert wait(api, tmp_path).how is DownloadOutcome.ALREADY


def test_a_container_that_restarts_again_and_again(tmp_path: Path) -> None:
    error = failure(LogApi(recorded("looping")), tmp_path)
    assert error.what == "the download keeps restarting"
    assert error.why.startswith("Completed, exit 0")


def test_a_container_that_was_done_before_it_restarted(tmp_path: Path) -> None:
    """restartPolicy Always: the script ends well and is started again; its word is in the log of the run before."""
    api = LogApi(recorded("looping"))
    api.previous = [f"2026-11-23T20:59:59.5Z {DONE}"]
    with api.serve():
        assert wait(api, tmp_path).how is DownloadOutcome.ALREADY
    assert api.asked[0]["previous"] == "true"


def test_a_container_between_two_runs_is_waited_for(tmp_path: Path) -> None:
    api = LogApi(json.loads(json.dumps(recorded("running"))))
    assert api.pod is not None
    status = api.pod["status"]
    running = dict(status["containerStatuses"][0])
    ended = running | {"state": {"terminated": {"exitCode": 1, "reason": "Error"}}}
    status["containerStatuses"] = [ended]
    api.write("connection lost")

    def starts() -> None:
        while len(api.asked) < 2:
            time.sleep(0.02)
        status["containerStatuses"] = [running | {"restartCount": 1}]
        api.write(DONE)

    threading.Thread(target=starts, daemon=True).start()
    with api.serve():
        done = wait(api, tmp_path)
    assert done.lines == 2


def test_an_image_that_cannot_be_pulled(tmp_path: Path) -> None:
    error = failure(LogApi(recorded("image")), tmp_path)
    assert error.what == "the pod that downloads the model cannot start"
    assert error.why.startswith("ImagePullBackOff: Back-off pulling image")


def test_a_pod_without_a_place_is_waited_for_and_then_given_up(tmp_path: Path) -> None:
    talk = Talk()
    error = failure(LogApi(recorded("unschedulable")), tmp_path, talk, model__idle_s="1")
    assert error.what == "the download makes no progress"
    assert "the pod is pending (Unschedulable: 0/1 nodes are available" in error.why
    assert talk.getvalue().count("has not started") == 1


def test_a_pod_that_is_deleted_meanwhile(tmp_path: Path) -> None:
    api = LogApi(recorded("running"))
    api.write("1%")

    def take_away() -> None:
        time.sleep(0.5)
        api.pod, api.ended = None, True

    meanwhile(api, take_away)
    assert failure(api, tmp_path).what == "the pod that downloads the model was deleted before it was done"


def test_another_pod_of_the_same_name_is_read_from_its_beginning(tmp_path: Path) -> None:
    """It was deleted and created again: its log is another one, also where its node's clock is behind."""
    api, talk = LogApi(json.loads(json.dumps(recorded("running")))), Talk()
    api.write("1%")

    def replace() -> None:
        time.sleep(0.3)
        assert api.pod is not None
        api.lines = [f"2020-01-01T00:00:00.5Z {DONE}"]
        api.pod = api.pod | {"metadata": api.pod["metadata"] | {"uid": "another"}}
        api.cuts = [0]

    meanwhile(api, replace)
    with api.serve():
        done = wait(api, tmp_path, talk)
    assert done.how is DownloadOutcome.WAITED
    assert done.lines == 1
    assert f"model: {SPACE}/{NAME} was recreated, so its log starts again" in talk.getvalue()
