"""Starts the whole way again in namespaces of its own, under a keeper that cleans up after it."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType


def alone(words: Sequence[str], folder: Path | None = None) -> int:
    """Run `python -m e2e.scenarios WORDS --folder …` with a keeper; its exit status.

    Arguments: `folder`, in which it runs, in a new folder that is removed afterwards; None for the system's temporary
    one. A signal that ends this process ends the run, and it returns when all is cleaned up.
    """
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="leviathan-e2e-", dir=folder)).resolve()
    argv = [sys.executable, "-m", "e2e.kubelet.keeper", str(place), *words, "--folder", str(place / "stage")]
    keeper = subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True, env=dict(os.environ))

    def over(_number: int, _frame: FrameType | None) -> None:
        assert keeper.stdin is not None
        keeper.stdin.close()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, over)
    return keeper.wait()
