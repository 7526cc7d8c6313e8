"""`leviathan deploy` as a process: a real registry and front end, and the recorded answers of a real API server."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from deploy_process import DEPLOYMENT, DIGEST, REVIEWS, deploy, result, served, start, states
from deploy_stage import HOST, NODE_PORT, Stage, stage, unsteady
from fakes.replay_api import ANSWERS, ApiRequest, ReplayApi, read_recording
from push_support import make_layout

from leviathan.deploy.phases import NAMES

NODE, SPACE = "talos-u8k-rze", "/api/v1/namespaces/ai-workloads"


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


def test_unwritable_result_file_fails_before_anything_is_done(placed: Stage) -> None:
    process = start(placed.folder, "deploy", "--from", "push", "--result-file", "none/r.json", *placed.arguments)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "cannot write the file (none/r.json)" in err
    assert not list(placed.registry.storage.glob("docker/registry/v2/blobs/**/data"))
