"""The program that `nix run .#deploy` starts, as Nix built it: LEVIATHAN_PROGRAM=PROGRAM python -m pytest FILE.

Without the variable nothing is run.
PROGRAM is what `nix eval --raw .#apps.x86_64-linux.deploy.program` prints, once `nix run .#deploy` has built it.
"""

import json
import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from fakes.replay_api import ReplayApi, until
from smoke_support import free_port
from test_terminal_signals import stopped

pytestmark = pytest.mark.skipif("LEVIATHAN_PROGRAM" not in os.environ, reason="LEVIATHAN_PROGRAM names no program")
#: Compiled modules in the order in which a deployment loads them: the first with the command line's own imports, the
#: others with the manifests, the official Kubernetes client and the HTTP client.
LOADED = ("_typing", "_json", "_yaml", "_hashlib", "_ctypes", "_ssl")


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """The program, with nothing of this process's environment but a kubeconfig in `folder`."""
    environ = {"PATH": "/nowhere", "HOME": str(folder), "KUBECONFIG": str(folder / "kubeconfig")}
    argv = [*shlex.split(os.environ["LEVIATHAN_PROGRAM"]), "--set", f"registry.host=127.0.0.1:{free_port()}"]
    return subprocess.Popen(
        [*argv, *arguments],
        env=environ,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def has_loaded(process: subprocess.Popen[str], name: str) -> bool:
    """Whether the process has the compiled module, or has ended."""
    try:
        maps = Path(f"/proc/{process.pid}/maps").read_text()
    except OSError:
        return True
    return f"/{name}.cpython-" in maps or process.poll() is not None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("name", LOADED)
def test_a_signal_while_it_is_imported(name: str, number: signal.Signals, tmp_path: Path) -> None:
    """Status 130 and a word, and neither a traceback nor an end by the signal, wherever the imports are."""
    process = start(tmp_path)
    assert until(lambda: has_loaded(process, name), 60)
    assert process.poll() is None, process.communicate()
    err = stopped(process, number)
    assert err.splitlines()[-1].startswith(("stopped", "error: preflight: stopped: "))


def test_it_has_all_that_it_imports(tmp_path: Path) -> None:
    """Every check of preflight is made, with the YAML reader, the official Kubernetes client and the HTTP client."""
    server = ReplayApi()
    server.kubeconfig(tmp_path)
    try:
        process = start(tmp_path, "--until", "preflight", "--json")
        out, err = process.communicate(timeout=120)
    finally:
        server.close()
    assert process.returncode == 3, err
    assert "GET /version" in server.lines()
    error = json.loads(out)["error"]
    assert "internal error" not in error["why"]
    assert "this check failed" not in error["why"]
    assert "no connection" in error["why"]  # the registry that is not there was asked
