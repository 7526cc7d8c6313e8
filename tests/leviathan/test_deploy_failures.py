"""`leviathan deploy` where a phase fails: its exit status, and the command that continues from there."""

import json
import shlex
from pathlib import Path

import pytest
from deploy_process import DEPLOYMENT, DIGEST, deploy, result, served, states
from fakes.replay_api import Answer, ReplayApi
from push_support import make_layout
from smoke_support import free_port

from leviathan.deploy.phase_sequence import chosen
from leviathan.deploy.phases import NAMES, PHASES
from leviathan.errors import ExitCode, UsageError

NODE, SPACE = "talos-u8k-rze", "/api/v1/namespaces/ai-workloads"


def test_chosen_phases() -> None:
    def names(first: str, last: str, *skip: str) -> list[str]:
        return [phase.name for phase in chosen(first, last, skip)]

    assert names("preflight", "smoke") == list(NAMES)
    assert names("apply", "rollout") == ["apply", "rollout"]
    assert names("push", "smoke", "model", "smoke") == ["push", "apply", "rollout"]
    for wrong in (("smoke", "push"), ("push", "push", "push")):
        with pytest.raises(UsageError, match="no phase is left to run"):
            names(*wrong)


def test_phases_have_their_own_exit_status() -> None:
    assert [phase.code for phase in PHASES] == [
        ExitCode.PREFLIGHT,
        ExitCode.PUSH,
        ExitCode.MODEL,
        ExitCode.APPLY,
        ExitCode.ROLLOUT,
        ExitCode.SMOKE,
    ]


def refuse(server: ReplayApi, phase: str) -> None:
    """Have the API server answer so that the phase fails."""
    forbidden = {"kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403, "message": "no"}
    gone = {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404, "message": "no"}
    empty = {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": []}
    if phase == "model":
        server.add("GET", f"{SPACE}/pods/sysadmin-logistics", Answer(404, gone))
    elif phase == "apply":
        server.add("GET", SPACE, Answer(403, forbidden))
        server.add("PATCH", SPACE, Answer(403, forbidden))
    elif phase == "rollout":
        apps = "/apis/apps/v1/namespaces/ai-workloads"
        core = [f"{SPACE}/{name}" for name in ("pods", "events", "services")]
        for path in (*core, "/api/v1/nodes", f"{apps}/deployments", f"{apps}/replicasets"):
            server.add("GET", path, Answer(200, empty), limit="500")
            server.add("GET", path, Answer(lines=(), after_s=1.0), watch="true")
    elif phase == "smoke":
        server.add("GET", DEPLOYMENT, Answer(404, gone))


@pytest.mark.parametrize(("phase", "code"), [(phase.name, int(phase.code)) for phase in PHASES])
def test_each_failing_phase_has_its_exit_status(phase: str, code: int, tmp_path: Path) -> None:
    """And names the command that continues from there, with the same settings, once."""
    settings = {
        "registry.host": f"127.0.0.1:{free_port()}",
        "push.retries": "0",
        "cluster.address": "127.0.0.1",
        "smoke.reach_s": "0",
        "rollout.patience_s": "0",
        "image.layout": str(make_layout(tmp_path / "image", (1000,)).path),
    }
    arguments = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    with served(tmp_path) as server:
        refuse(server, phase)
        if phase == "preflight":
            (tmp_path / "kubeconfig").unlink()
        done = deploy(tmp_path, "--from", phase, *arguments, "--set", "push.retries=1")
    assert done.returncode == code, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: {phase}: ")
    report = result(tmp_path)
    error = report["error"]
    assert (report["ok"], error["exit_code"]) == (False, code)
    settings["push.retries"] = "1"
    assert shlex.split(error["resume"]) == [
        *("leviathan", "deploy", "--from", phase, "--result-file", "result.json"),
        *(word for key, value in settings.items() for word in ("--set", f"{key}={value}")),
    ]
    assert last.endswith(error["resume"])
    found = states(error["phases"])
    place = NAMES.index(phase)
    assert [found[name] for name in NAMES] == ["skipped"] * place + ["failed"] + ["not begun"] * (5 - place)
    assert "Traceback" not in done.stderr


def test_failed_rollout_asks_for_what_passed_before(tmp_path: Path) -> None:
    """Only with the flag; the command that continues begins where this image is applied again."""
    gone = {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404, "message": "no"}
    with served(tmp_path) as server:
        refuse(server, "rollout")
        server.add("GET", DEPLOYMENT, Answer(404, gone))
        flags = ("--from", "rollout", "--set", "rollout.patience_s=0", "--set", DIGEST)
        without = deploy(tmp_path, *flags)
        done = deploy(tmp_path, "--rollback-on-failure", *flags)
    assert (without.returncode, done.returncode) == (7, 7), done.stderr
    words = "rollout: not rolled back: no image has passed the smoke test yet"
    assert words in done.stderr
    assert words not in without.stderr
    assert "leviathan deploy --from apply " in done.stderr.splitlines()[-1]
    assert "leviathan deploy --from rollout " in without.stderr.splitlines()[-1]


def test_command_that_goes_on_keeps_the_flags(tmp_path: Path) -> None:
    (tmp_path / "my site.toml").write_text("[cluster]\ncontext = 'none'\n")
    with served(tmp_path):
        flags = ["--skip", "push", "--until", "rollout", "--rollback-on-failure", "--json", "--site", "my site.toml"]
        done = deploy(tmp_path, *flags, "--set", "model.done_marker=ALL DONE")
    error = json.loads(done.stdout)["error"]
    assert done.returncode == 3
    assert shlex.split(error["resume"]) == [
        *("leviathan", "deploy", "--from", "preflight", "--until", "rollout", "--skip", "push"),
        *("--rollback-on-failure", "--json", "--site", "my site.toml", "--result-file", "result.json"),
        *("--set", "model.done_marker=ALL DONE"),
    ]
