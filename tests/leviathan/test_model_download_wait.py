"""The download gate: what it says of each state, that it follows through every break, that files are compared."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.log_api import NAME, SPACE, LogApi
from model_support import DONE, joined, recorded, site
from push_support import Talk

from leviathan.cluster.client import ClusterError, RetryPolicy
from leviathan.model.download_wait import wait_for_download
from leviathan.model.downloaded import DownloadOutcome, ModelError
from leviathan.model.log_follow import Log, LogChunk, Silence
from leviathan.terminal.output import Console


def wait(api: LogApi, folder: Path, talk: Talk | None = None, **named: str) -> Any:
    wanted = site(**named)
    return wait_for_download(
        wanted, joined(api, folder, wanted), Console(talk or Talk()), pause=lambda seconds: time.sleep(0.02)
    )


def failure(api: LogApi, folder: Path, talk: Talk | None = None, **named: str) -> ModelError:
    with api.serve(), pytest.raises(ModelError) as caught:
        wait(api, folder, talk, **named)
    assert caught.value.exit_code == 5
    assert caught.value.remedy
    return caught.value


def meanwhile(api: LogApi, work: Callable[[], None]) -> None:
    """Do `work` in the background, from when the log is followed."""

    def waits() -> None:
        while not any("follow" in each for each in list(api.asked)):
            time.sleep(0.02)
        work()

    threading.Thread(target=waits, daemon=True).start()


# --- states


def test_already_done(tmp_path: Path) -> None:
    api = LogApi(recorded("running"))
    for text in ("Fetching 9 files", "100%", DONE, "sleeping"):
        api.write(text)
    with api.serve():
        done = wait(api, tmp_path)
    assert done.how is DownloadOutcome.ALREADY
    assert done.text() == f'already downloaded: "{DONE}" is in the log of {SPACE}/{NAME}'
    assert all("follow" not in each for each in api.asked)


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


# --- following


def test_it_waits_and_shows_how_far_it_is(tmp_path: Path) -> None:
    api, talk = LogApi(recorded("running")), Talk()
    api.write("a.gguf:  10%|#| 4.8G/48.0G [00:50<07:30, 96.0MB/s]")

    def works() -> None:
        for percent in (40, 70):
            time.sleep(0.7)
            api.write(f"a.gguf:  {percent}%|#| {48 * percent / 100:.1f}G/48.0G [01:00<07:30, 96.0MB/s]")
        time.sleep(0.5)
        api.write(DONE)

    meanwhile(api, works)
    with api.serve():
        done = wait(api, tmp_path, talk)
    assert done.how is DownloadOutcome.WAITED
    assert done.lines == 4
    assert "model: 40 % (19.20 GB of 48.00 GB)" in talk.getvalue() or "model: 70 % (33.6" in talk.getvalue()


def test_silence_is_an_end(tmp_path: Path) -> None:
    api, talk = LogApi(recorded("running")), Talk()
    api.write("99%")
    began = time.monotonic()
    error = failure(api, tmp_path, talk, model__idle_s="2")
    assert error.what == "the download makes no progress"
    assert "no new log line for 2 s; its last line: 99%" in error.why
    assert "--set model.idle_s=SECONDS" in error.remedy
    assert 2 <= time.monotonic() - began < 60


def test_a_bar_without_line_ends_is_no_silence_while_it_grows(tmp_path: Path) -> None:
    api = LogApi(recorded("running"))

    def works() -> None:
        api.rest = "2026-11-23T20:00:01.5Z 0%"
        for percent in range(10, 100, 10):
            time.sleep(0.4)
            api.rest += f"\r{percent}%"
        api.end_line()
        api.write(DONE)

    meanwhile(api, works)
    with api.serve():
        done = wait(api, tmp_path, model__idle_s="2")
    assert done.how is DownloadOutcome.WAITED
    assert done.lines == 2


def test_a_bar_that_is_only_sent_again_is_silence(tmp_path: Path) -> None:
    api = LogApi(recorded("running"))
    api.rest = "2026-11-23T20:00:01.5Z 0%\r10%"
    error = failure(api, tmp_path, model__idle_s="3")
    assert error.what == "the download makes no progress"
    assert error.why.endswith("its last line: 10%")
    assert len(api.asked) >= 3


def test_the_api_server_goes_away_and_comes_back(tmp_path: Path) -> None:
    api, talk = LogApi(recorded("running")), Talk()
    api.write("1%")
    api.statuses = [200, 500, 500, 503, 200]

    def works() -> None:
        time.sleep(1.2)
        api.write(DONE)

    meanwhile(api, works)
    with api.serve():
        assert wait(api, tmp_path, talk).how is DownloadOutcome.WAITED


def test_no_right_to_read_the_log_is_an_end(tmp_path: Path) -> None:
    api = LogApi(recorded("running"))
    api.statuses = [403] * 9
    with api.serve(), pytest.raises(ClusterError) as caught:
        wait(api, tmp_path)
    assert caught.value.status == 403


def read_all(api: LogApi, folder: Path) -> list[str]:
    """The log through all its breaks, as the gate reads it."""
    log = Log(joined(api, folder, site()), SPACE, NAME, quiet_s=20)
    heard: list[str] = []
    while True:
        for each in log.read("download", follow=True):
            if isinstance(each, LogChunk) and each.whole:
                heard.append(each.text)
            if isinstance(each, Silence) and each.ended:
                return heard


def test_every_line_once_wherever_the_stream_breaks(tmp_path: Path) -> None:
    """Cut after every byte of the first lines, also inside a time and between two equal lines."""
    texts = ["one", "two", "two", "three ü", "", "four"]
    stamps = ["01.1", "01.1", "01.1", "02", "03.123456789", "09.5"]
    api = LogApi(recorded("running"))
    api.ended = True
    for stamp, text in zip(stamps, texts, strict=True):
        api.write(text, f"2026-11-23T20:00:{stamp}Z")
    size = len("\n".join(api.lines).encode()) + 1
    with api.serve():
        for cut in range(0, size, 3):
            api.cuts = [cut, max(cut - 7, 0), cut + 11]
            assert read_all(api, tmp_path) == texts, cut
    assert any("sinceTime" in each for each in api.asked)


def test_a_dead_connection_is_opened_again(tmp_path: Path) -> None:
    """No byte and no end: after the heartbeat's time it asks again."""
    api = LogApi(recorded("running"))
    api.write("1%")
    api.silent = True

    def wakes() -> None:
        time.sleep(2)
        api.write(DONE)

    meanwhile(api, wakes)
    with api.serve():
        done = wait(api, tmp_path)
    assert done.how is DownloadOutcome.WAITED
    assert done.reopened >= 2
    assert done.lines == 2
