"""What the smoke test does to the Deployment: notes what passed, takes back what did not, and when it does neither."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.replay_api import ANSWERS, Answer, ReplayApi
from smoke_support import endpoint, free_node_port, smoke_site, talking

from leviathan.errors import UsageError
from leviathan.smoke.result import Smoked, SmokeError
from leviathan.smoke.suite import run

PATH = "/apis/apps/v1/namespaces/ai-workloads/deployments/cortex-leviathan"
PASSED = "leviathan/passed-digest"
OTHER = f"127.0.0.1:5999/omni/engine@sha256:{'2' * 64}"


def recorded() -> dict[str, Any]:
    """The Deployment of the recording, all its pods new and ready, its image noted as passed."""
    exchanges = json.loads((ANSWERS / "deploy" / "again.json").read_text(encoding="utf-8"))
    found = [each["answer"]["body"] for each in exchanges if (each["method"], each["path"]) == ("GET", PATH)]
    assert isinstance(found[-1], dict)
    return found[-1]


IMAGE = recorded()["spec"]["template"]["spec"]["containers"][0]["image"]


def deployment(*, passed: str = "", **changes: Any) -> dict[str, Any]:
    """That Deployment with another note, and changes by path: `status_availableReplicas=0`."""
    found = copy.deepcopy(recorded())
    found["metadata"]["annotations"].pop(PASSED, None)
    found["metadata"]["annotations"] |= {PASSED: passed} if passed else {}
    for name, value in changes.items():
        *steps, last = name.split("_")
        place = found
        for step in steps:
            place = place[step]
        place[last] = value
    return found


def tagged() -> dict[str, Any]:
    found = deployment()
    found["spec"]["template"]["spec"]["containers"][0]["image"] = "127.0.0.1:5999/omni/engine:a-tag"
    return found


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ReplayApi]:
    server = ReplayApi()
    server.kubeconfig(tmp_path)
    yield server
    server.close()


def smoke(
    tmp_path: Path, *, back: bool = False, url: bool = False, dry: bool = False, **wrong: Any
) -> tuple[Smoked | SmokeError, str]:
    """A smoke test at the NodePort; `wrong` routes answer as they say."""
    console, talk = talking()
    port = free_node_port()
    environ = {"KUBECONFIG": str(tmp_path / "kubeconfig"), "HOME": str(tmp_path)}
    site = smoke_site(cluster_address="127.0.0.1", engine_node_port=str(port))
    with endpoint(port, **wrong) as address:
        try:
            done = run(site, environ, console, url=address if url else "", rollback_on_failure=back, dry_run=dry)
        except SmokeError as error:
            return error, talk.getvalue()
    return done, talk.getvalue()


def writes(api: ReplayApi) -> list[Any]:
    return [each for each in api.asked if each.method != "GET"]


def test_passed_image_is_noted(api: ReplayApi, tmp_path: Path) -> None:
    api.add("GET", PATH, Answer(200, deployment(passed=OTHER)))
    api.add("PATCH", PATH, Answer(200, deployment(passed=IMAGE)))
    done, _ = smoke(tmp_path)
    assert isinstance(done, Smoked)
    assert (done.digest, done.changed, done.recorded) == (IMAGE, True, f"recorded as passed: {IMAGE}")
    [asked] = writes(api)
    assert asked.body == {"metadata": {"annotations": {PASSED: IMAGE}}}
    assert asked.headers["content-type"] == "application/merge-patch+json"


def test_noted_before_is_not_written_again(api: ReplayApi, tmp_path: Path) -> None:
    api.add("GET", PATH, Answer(200, deployment(passed=IMAGE)))
    done, _ = smoke(tmp_path)
    assert isinstance(done, Smoked)
    assert (done.digest, done.changed) == (IMAGE, False)
    assert writes(api) == []


GONE = Answer(404, {"kind": "Status", "reason": "NotFound", "code": 404, "message": "no"})
LEFT_ALONE: list[tuple[tuple[Answer, ...], str]] = [
    ((GONE,), "there is no Deployment"),
    ((Answer(200, deployment(status_availableReplicas=0)),), "the Deployment is still rolling out (leviathan rollout)"),
    ((Answer(200, deployment(status_observedGeneration=0)),), "the Deployment is still rolling out"),
    ((Answer(200, deployment()), Answer(200, deployment(metadata_generation=99))), "was changed during the test"),
    ((Answer(200, tagged()),), "its image is not pinned by digest: 127.0.0.1:5999/omni/engine:a-tag"),
    ((Answer(200, deployment()),), "forbidden: this kubeconfig may not "),
]


@pytest.mark.parametrize(("answers", "why"), LEFT_ALONE)
def test_what_cannot_be_said_is_not_noted(
    answers: tuple[Answer, ...], why: str, api: ReplayApi, tmp_path: Path
) -> None:
    """The test has passed all the same, and says why no rollback can come back to this image."""
    api.add("GET", PATH, *answers)
    api.add("PATCH", PATH, Answer(403, {"kind": "Status", "reason": "Forbidden", "code": 403, "message": "no"}))
    done, talk = smoke(tmp_path)
    assert isinstance(done, Smoked)
    assert (done.digest, done.changed) == ("", False)
    assert "warning: not recorded as passed, so rollbacks will not choose this image: " in talk
    assert why in talk
    assert len(writes(api)) == ("may not" in why)


def test_dry_run_notes_nothing_and_says_so(api: ReplayApi, tmp_path: Path) -> None:
    """The control is the first test of this file."""
    api.add("GET", PATH, Answer(200, deployment(passed=OTHER)))
    done, talk = smoke(tmp_path, dry=True)
    assert isinstance(done, Smoked)
    assert done.text().splitlines()[-1] == f"dry run: would be recorded as passed: {IMAGE}"
    assert (done.changed, writes(api)) == (False, [])
    assert talk.count("smoke: passed ") == 7
    with pytest.raises(UsageError, match="--dry-run cannot be used with --rollback-on-failure"):
        smoke(tmp_path, dry=True, back=True)


def test_dry_run_says_what_is_in_the_way(api: ReplayApi, tmp_path: Path) -> None:
    api.add("GET", PATH, GONE)
    done, talk = smoke(tmp_path, dry=True)
    assert isinstance(done, Smoked)
    assert done.recorded == "dry run: would not be recorded as passed: there is no Deployment"
    assert "warning" not in talk


def test_without_a_cluster_the_endpoint_is_tested(tmp_path: Path) -> None:
    done, talk = smoke(tmp_path)
    assert isinstance(done, Smoked)
    assert "not recorded as passed, so rollbacks will not choose this image: no kubeconfig found" in talk


def test_another_address_leaves_the_cluster_alone(api: ReplayApi, tmp_path: Path) -> None:
    done, _ = smoke(tmp_path, url=True)
    assert isinstance(done, Smoked)
    assert api.asked == []
    with pytest.raises(UsageError, match="cannot be used with"):
        smoke(tmp_path, url=True, back=True)


def wrong(reply: Any, body: Any) -> None:
    reply.json(500, {"error": {"message": "CUDA error"}})


def denied(reply: Any, body: Any) -> None:
    reply.json(401, {"error": {"message": "the API key is missing"}})


DENIED = dict.fromkeys(("models", "completion", "chat", "stream", "refusal"), denied)
NOT_BACK: list[tuple[dict[str, Any], tuple[Answer, ...], str]] = [
    ({"completion": wrong}, (GONE,), "there is no Deployment"),
    ({"completion": wrong}, (Answer(200, deployment()),), "no image has passed the smoke test yet"),
    ({"completion": wrong}, (Answer(200, deployment(passed=IMAGE)),), "this image is the last one that passed"),
    (
        {"completion": wrong},
        (Answer(200, deployment(passed=OTHER, status_availableReplicas=0)),),
        "the Deployment was still rolling out when the test began",
    ),
    (
        {"completion": wrong},
        (Answer(200, deployment(passed=OTHER)), Answer(200, deployment(passed=OTHER, metadata_generation=99))),
        "the Deployment was changed during the test",
    ),
    (DENIED, (Answer(200, deployment(passed=OTHER)),), "the failure is not about its image"),
]


@pytest.mark.parametrize(("routes", "answers", "why"), NOT_BACK)
def test_when_nothing_is_taken_back(
    routes: dict[str, Any], answers: tuple[Answer, ...], why: str, api: ReplayApi, tmp_path: Path
) -> None:
    """The positive control is the test below."""
    api.add("GET", PATH, *answers)
    error, _ = smoke(tmp_path, back=True, **routes)
    assert isinstance(error, SmokeError)
    assert error.rollback.startswith("not rolled back: ")
    assert why in error.line()
    assert writes(api) == []


def test_rollback_that_is_refused_is_told(api: ReplayApi, tmp_path: Path) -> None:
    api.add("GET", PATH, Answer(200, deployment(passed=OTHER)))
    api.add("PATCH", PATH, Answer(403, {"kind": "Status", "reason": "Forbidden", "code": 403, "message": "no"}))
    error, _ = smoke(tmp_path, back=True, completion=wrong)
    assert isinstance(error, SmokeError)
    assert (
        error.exit_code,
        error.rollback.startswith("the rollback failed: forbidden: this kubeconfig may not "),
    ) == (8, True)
    [asked] = writes(api)
    assert asked.body["spec"]["template"]["spec"]["containers"][0]["image"] == OTHER


def test_without_the_flag_nothing_is_taken_back(api: ReplayApi, tmp_path: Path) -> None:
    api.add("GET", PATH, Answer(200, deployment(passed=OTHER)))
    error, _ = smoke(tmp_path, completion=wrong)
    assert isinstance(error, SmokeError)
    assert error.rollback == ""
    assert writes(api) == []
