"""`leviathan deploy` as a process, and what it leaves behind."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fakes.replay_api import ReplayApi
from push_support import TOOLS

from leviathan.deploy.phases import NAMES

SPACE = "/api/v1/namespaces/ai-workloads"
DEPLOYMENT = "/apis/apps/v1/namespaces/ai-workloads/deployments/cortex-leviathan"
DIGEST = f"image.digest=sha256:{'1' * 64}"
REVIEWS = "/apis/authorization.k8s.io/"


@contextlib.contextmanager
def served(folder: Path) -> Iterator[ReplayApi]:
    """An API server with nothing yet; its kubeconfig lies in `folder`."""
    server = ReplayApi()
    server.kubeconfig(folder)
    try:
        yield server
    finally:
        server.close()


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(TOOLS),
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "KUBECONFIG": str(folder / "kubeconfig"),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "leviathan", *arguments],
        env=environ,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def deploy(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    process = start(folder, "deploy", "--result-file", "result.json", *arguments)
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def result(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "result.json").read_text())
    assert isinstance(found, dict)
    return found


def states(phases: list[dict[str, Any]]) -> dict[str, str]:
    assert [each["phase"] for each in phases] == list(NAMES)
    return {each["phase"]: each["state"] for each in phases}
