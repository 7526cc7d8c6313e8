"""`leviathan deploy` that is stopped by a signal: the command that continues, and a push that resumes."""

import signal
from pathlib import Path

import pytest
from deploy_process import DEPLOYMENT, deploy, result, served, start, states
from fakes.fault_registry import Fault, FaultRegistry
from fakes.replay_api import Answer, ReplayApi, until
from push_support import MIB, make_layout

from leviathan.deploy.phases import NAMES

NODE, SPACE = "talos-u8k-rze", "/api/v1/namespaces/ai-workloads"


def hang(server: ReplayApi, phase: str) -> str:
    """Have the API server keep the phase waiting; gives the request that shows that it has begun."""
    pod = {
        "metadata": {"name": "sysadmin-logistics", "namespace": "ai-workloads", "uid": "1"},
        "spec": {"containers": [{"name": "download"}]},
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": "download", "restartCount": 0, "state": {"running": {}}}],
        },
    }
    path = {
        "preflight": "/version",
        "model": f"{SPACE}/pods/sysadmin-logistics/log",
        "apply": SPACE,
        "rollout": "/apis/apps/v1/namespaces/ai-workloads/deployments",
        "smoke": DEPLOYMENT,
    }[phase]
    server.add("GET", f"{SPACE}/pods/sysadmin-logistics", Answer(200, pod))
    server.add("GET", path, Answer(200, {}, after_s=8.0))
    return f"GET {path}"


@pytest.mark.parametrize(
    ("phase", "number"),
    [
        *((name, signal.SIGINT) for name in NAMES if name != "push"),
        ("model", signal.SIGTERM),
        ("model", signal.SIGHUP),
    ],
)
def test_signal_names_the_command_that_goes_on(phase: str, number: signal.Signals, tmp_path: Path) -> None:
    with served(tmp_path) as server:
        line = hang(server, phase)
        layout = make_layout(tmp_path / "image", (1000,))
        arguments = ("--from", phase, "--result-file", "result.json", "--set", f"image.layout={layout.path}")
        process = start(tmp_path, "deploy", *arguments)
        assert until(lambda: line in server.lines(), 60)
        under_way = result(tmp_path)
        assert states(under_way["phases"])[phase] == "running"
        assert under_way["resume"].startswith(f"leviathan deploy --from {phase} ")
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    last = err.splitlines()[-1]
    assert last.startswith(f"error: {phase}: stopped: what is done so far stays as it is; fix: continue with: ")
    assert f"leviathan deploy --from {phase} " in last
    assert states(result(tmp_path)["error"]["phases"])[phase] == "stopped"
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_push_that_is_stopped_goes_on_where_it_was(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C and a kill of the deployment let the chunk under way arrive; the next one sends only the rest."""
    layout = make_layout(tmp_path / "image", (8 * MIB,))
    slow = Fault("PATCH", times=1000, delay_s=0.005)
    with FaultRegistry(slow).serve() as registry:
        settings = {"registry.host": registry.host, "image.layout": str(layout.path), "push.chunk_mib": "1"}
        arguments = ["--from", "push", "--until", "push"]
        arguments += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        process = start(tmp_path, "deploy", *arguments)
        assert until(lambda: sum(map(len, list(registry.uploads.values()))) > 2 * MIB, 60)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        if number is signal.SIGINT:
            assert process.returncode == 130
            assert "leviathan deploy --from push --until push" in err.splitlines()[-1]
        slow.delay_s = 0
        done = deploy(tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
        assert registry.taken <= sum(layout.blobs.values()) + MIB
        again = deploy(tmp_path, *arguments)
        assert again.stdout.splitlines()[-1].startswith("nothing had to be changed")
