"""The download gate: that it follows the log through every break, and shows how far the download is."""

import time
from pathlib import Path

import pytest
from fakes.log_api import NAME, SPACE, LogApi
from model_support import DONE, joined, recorded, site
from model_wait import failure, meanwhile, wait
from push_support import Talk

from leviathan.cluster.client import ClusterError
from leviathan.model.downloaded import DownloadOutcome
from leviathan.model.log_follow import Log, LogChunk, Silence

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
