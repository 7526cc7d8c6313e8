"""`leviathan deploy` as a process: a real registry and front end, and the recorded answers of a real API server."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deploy_stage import HOST, NODE_PORT, Stage, stage, unsteady
from fakes.fault_registry import Fault, FaultRegistry
from fakes.replay_api import ANSWERS, Answer, ApiRequest, ReplayApi, read_recording, until
from push_support import MIB, TOOLS, make_layout
from smoke_support import free_port

from leviathan.deploy.phase_sequence import chosen
from leviathan.deploy.phases import NAMES, PHASES
from leviathan.errors import ExitCode, UsageError

NODE, SPACE = "talos-u8k-rze", "/api/v1/namespaces/ai-workloads"
DEPLOYMENT = "/apis/apps/v1/namespaces/ai-workloads/deployments/cortex-leviathan"
DIGEST = f"image.digest=sha256:{'1' * 64}"
REVIEWS = "/apis/authorization.k8s.io/"


@pytest.fixture
def placed(tmp_path: Path) -> Iterator[Stage]:
    with stage(tmp_path) as found:
        yield found


@contextlib.contextmanager
def replayed(name: str, placed: Stage) -> Iterator[ReplayApi]:
    """The API server of a recording, with this stage's registry and port in place of the recorded ones."""
    text = (ANSWERS / "deploy" / f"{name}.json").read_text(encoding="utf-8")
    text = text.replace(HOST, placed.registry.host).replace(str(NODE_PORT), str(placed.site.engine.node_port))
    (placed.folder / "recording.json").write_text(text, encoding="utf-8")
    with served(placed.folder) as server:
        for each in read_recording(placed.folder / "recording.json"):
            if each.answer.lines is not None:  # the real one stays open, and so does this for two seconds more
                lines = (*each.answer.lines, *([{"type": "BOOKMARK", "object": {"metadata": {}}}] * 40))
                held = replace(each, answer=replace(each.answer, lines=lines, between_s=0.05))
                server.exchanges.append(held)
            else:
                server.exchanges.append(each)
        yield server


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


def writes(server: ReplayApi) -> list[ApiRequest]:
    """What was asked for that changes something: no reads, reviews or dry runs."""
    return [
        each
        for each in server.asked
        if each.method != "GET" and "dryRun" not in each.query and not each.path.startswith(REVIEWS)
    ]


def assert_known(server: ReplayApi) -> None:
    """Every request had an answer, except those in addition to the feeds, which depend on this machine's speed."""
    assert [each.line for each in server.unexpected if not each.path.endswith(("/proxy/health", "/log"))] == []


def test_first_deployment(placed: Stage) -> None:
    """All phases; the objects are written once, in their order, and the image is noted as passed at the end."""
    with replayed("first", placed) as server:
        done = deploy(placed.folder, *placed.arguments)
        assert done.returncode == 0, done.stderr
        assert_known(server)
    assert [each.line for each in writes(server)] == [
        f"PATCH {SPACE}",
        f"PATCH {DEPLOYMENT}",
        f"PATCH {SPACE}/services/leviathan-inference",
        f"PATCH {DEPLOYMENT}",
    ]
    note = server.asked[-1].body["metadata"]["annotations"]
    assert note == {"leviathan/passed-digest": f"{placed.registry.host}/omni/engine@{placed.layout.digest}"}
    assert placed.registry.blob(placed.layout.biggest) == placed.layout.bytes_of(placed.layout.biggest)
    report = result(placed.folder)
    assert (report["ok"], report["changed"]) == (True, True)
    assert states(report["phases"]) == {
        "preflight": "passed",
        "push": "changed",
        "model": "passed",
        "apply": "changed",
        "rollout": "passed",
        "smoke": "changed",
    }
    for each in report["phases"]:
        assert each["seconds"] >= 0
        assert each["began"].endswith("+00:00")
        assert each["result"]
    assert done.stdout.splitlines()[-1].startswith("deployed in ")
    assert [line.split()[0] for line in done.stdout.splitlines()[:-1]] == list(NAMES)


def test_second_deployment_changes_nothing(placed: Stage) -> None:
    """Nothing is uploaded, nothing is written, it says so, and it is over within seconds."""
    push = start(placed.folder, "push", *placed.arguments)
    assert push.wait(60) == 0
    with replayed("again", placed) as server:
        began = time.monotonic()
        done = deploy(placed.folder, *placed.arguments)
        seconds = time.monotonic() - began
        assert done.returncode == 0, done.stderr
        assert_known(server)
    assert writes(server) == []
    report = result(placed.folder)
    assert (report["ok"], report["changed"]) == (True, False)
    found = states(report["phases"])
    assert (found["push"], found["apply"], found["smoke"]) == ("nothing to do", "nothing to do", "passed")
    assert report["phases"][1]["result"]["bytes_sent"] == 0
    assert done.stdout.splitlines()[-1].startswith("nothing had to be changed (")
    assert seconds < 8 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def test_given_digest_is_looked_for_and_not_pushed(placed: Stage) -> None:
    """As a rollback recommends: no image of another digest is uploaded, or is even there; the tag stays."""
    assert start(placed.folder, "push", *placed.arguments).wait(60) == 0
    storage = sorted(placed.registry.storage.rglob("*"))
    given = [*placed.arguments, "--set", "image.layout=none", "--set", f"image.digest={placed.layout.digest}"]
    with replayed("again", placed) as server:
        done = deploy(placed.folder, *given)
        assert done.returncode == 0, done.stderr
    assert writes(server) == []
    assert sorted(placed.registry.storage.rglob("*")) == storage
    report = result(placed.folder)
    assert states(report["phases"])["push"] == "nothing to do"
    assert report["phases"][1]["summary"] == "image.digest is set, and the registry has it: nothing to push"
    wrong = deploy(placed.folder, "--from", "push", *given[:-1], DIGEST)
    assert wrong.returncode == 4
    assert wrong.stderr.splitlines()[-1].startswith("error: push: the registry does not have the image (http://")
    assert "leviathan deploy --from push " in wrong.stderr.splitlines()[-1]


@pytest.mark.parametrize(("flags", "status"), [((), 4), (("--skip", "push"), 6), (("--from", "apply"), 6)])
def test_image_that_nobody_pushed_is_not_applied(flags: tuple[str, ...], status: int, placed: Stage) -> None:
    """Whether the phase `push` is left out or finds no such digest: what runs keeps running."""
    with replayed("first", placed) as server:
        done = deploy(placed.folder, "--skip", "preflight", *flags, *placed.arguments, "--set", DIGEST)
    assert done.returncode == status, done.stderr
    assert "the registry does not have the image" in done.stderr
    assert writes(server) == []


def test_dry_run_changes_nothing(placed: Stage) -> None:
    with replayed("first", placed) as server:
        done = deploy(placed.folder, "--dry-run", "--json", *placed.arguments)
        assert done.returncode == 0, done.stderr
    assert writes(server) == []
    assert "PATCH" in {each.method for each in server.asked}  # the server was asked what would come of it
    assert placed.registry.partial() == 0
    assert not list(placed.registry.storage.glob("docker/registry/v2/blobs/**/data"))
    report = json.loads(done.stdout)
    assert report == result(placed.folder)
    found = states(report["phases"])
    assert (found["push"], found["apply"]) == ("would change", "would change")
    assert [found[name] for name in ("model", "rollout", "smoke")] == ["skipped"] * 3
    assert (report["changed"], report["dry_run"]) == (False, True)


def test_failed_smoke_test_is_taken_back(placed: Stage) -> None:
    """The recorded cluster has another image that has passed: that one comes back, and is waited for."""
    other = make_layout(placed.folder / "two", (300_000, 20_000), seed=1)
    placed.front.letters.tokens = unsteady(placed.front.letters)
    arguments = [*placed.arguments, "--set", f"image.layout={other.path}"]
    with replayed("taken-back", placed) as server:
        done = deploy(placed.folder, "--rollback-on-failure", *arguments)
        assert_known(server)
    assert done.returncode == 8, done.stderr
    back = f"{placed.registry.host}/omni/engine@{placed.layout.digest}"
    bodies = [each.body for each in writes(server) if each.path == DEPLOYMENT]
    images = [body["spec"]["template"]["spec"]["containers"][0]["image"] for body in bodies if "spec" in body]
    assert images == [f"{placed.registry.host}/omni/engine@{other.digest}", back]
    assert f"rolled back to {back}, which is ready; to keep it at the next apply: --set image.digest=" in done.stderr
    report = result(placed.folder)
    assert states(report["error"]["phases"])["smoke"] == "failed"
    assert [each["state"] for each in report["error"]["checks"]].count("failed") == 2
    assert " --from apply " in report["error"]["resume"]


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


def test_unwritable_result_file_fails_before_anything_is_done(placed: Stage) -> None:
    process = start(placed.folder, "deploy", "--from", "push", "--result-file", "none/r.json", *placed.arguments)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "cannot write the file (none/r.json)" in err
    assert not list(placed.registry.storage.glob("docker/registry/v2/blobs/**/data"))


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
