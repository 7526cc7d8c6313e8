"""The download gate in a test: wait, fail, and do something meanwhile."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.log_api import LogApi
from model_support import joined, site
from push_support import Talk

from leviathan.model.download_wait import wait_for_download
from leviathan.model.downloaded import ModelError
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
