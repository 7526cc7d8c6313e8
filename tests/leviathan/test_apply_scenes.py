"""apply, diff, delete and rollback against the answers of a real API server."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from apply_scenes import LABEL, ONE, SCENES, Clock, Play, play, shown
from fakes.replay_api import ANSWERS, ApiRequest, ReplayApi, replay

from leviathan.cluster.client import ClusterError, connect
from leviathan.errors import ExitCode
from leviathan.manifests.policy import ENFORCE
from leviathan.site.load import load


@contextmanager
def replayed(scene: str, folder: Path) -> Iterator[tuple[Play, ReplayApi]]:
    """A scene's playing against its recording; time passes only in its sleeps."""
    with replay(f"apply/{scene}") as api:
        site = load(None, environ={}, settings=(), named={}).site
        cluster = connect(site, {"KUBECONFIG": str(api.kubeconfig(folder))})
        clock = Clock()
        cluster.clock = cluster.transport.clock = clock
        cluster.transport.sleep = clock.sleep
        yield play(scene, cluster, clock), api


def patches(api: ReplayApi) -> list[ApiRequest]:
    """The real patches."""
    return [each for each in api.asked if each.method == "PATCH" and "dryRun" not in each.query]


def ours(method: str, *plurals: str) -> list[str]:
    """Our objects of these kinds as `METHOD plural/name`."""
    names = {"deployments": "cortex-leviathan", "services": "leviathan-inference"}
    return [f"{method} {plural}/{names[plural]}" for plural in plurals]


def real(api: ReplayApi) -> list[str]:
    """What was really to be changed, dry runs left out, as `METHOD plural/name`."""
    asked = [each for each in api.asked if each.method != "GET" and each.query.get("dryRun") != "All"]
    return [f"{each.method} {'/'.join(each.path.split('/')[-2:])}" for each in asked]


@pytest.mark.parametrize("scene", SCENES)
def test_says_what_it_should(scene: str, golden: Callable[[str, str], None], tmp_path: Path) -> None:
    with replayed(scene, tmp_path) as (playing, _):
        golden(f"apply/{scene}.txt", shown(playing, scene))


@pytest.mark.parametrize("scene", SCENES)
def test_writes_what_was_recorded_and_no_more(scene: str, tmp_path: Path) -> None:
    recorded = [
        each for each in json.loads((ANSWERS / "apply" / f"{scene}.json").read_text()) if each["method"] != "GET"
    ]
    with replayed(scene, tmp_path) as (playing, api):
        shown(playing, scene)
    asked = [each for each in api.asked if each.method != "GET"]
    assert [(each.method, each.path, each.query) for each in asked] == [
        (each["method"], each["path"], each["query"]) for each in recorded
    ]


@pytest.mark.parametrize(
    ("scene", "changed"),
    [
        (
            "created",
            [
                "PATCH namespaces/lab-created",
                "PATCH deployments/cortex-leviathan",
                "PATCH services/leviathan-inference",
            ],
        ),
        ("unchanged", []),
        ("adopted", ["PATCH services/leviathan-inference"]),
        ("configured", ["PATCH deployments/cortex-leviathan"]),
        ("configured-dry", []),
        ("created-dry", []),
        ("conflict", []),
        ("forced", ["PATCH deployments/cortex-leviathan"]),
        ("immutable", []),
        ("port-taken", []),
        ("runtime-class", ["PATCH namespaces/lab-runtime-class"]),
        ("pruned", ["DELETE services/old-service", "DELETE persistentvolumes/stale-models-lab-pruned"]),
        ("pruned-dry", []),
        ("not-pruned", []),
        ("diff-image", []),
        ("diff-conflict", []),
        ("diff-stale", []),
        ("delete-dry", []),
        ("delete-nothing", []),
        ("delete-terminating", []),
        ("delete-stranger", ["DELETE services/leviathan-inference", "DELETE deployments/cortex-leviathan"]),
        ("delete-others-namespace", ["DELETE services/leviathan-inference", "DELETE deployments/cortex-leviathan"]),
        (
            "delete",
            [
                "DELETE services/leviathan-inference",
                "DELETE deployments/cortex-leviathan",
                "DELETE namespaces/lab-delete",
            ],
        ),
        ("rollback-passed", ["PATCH deployments/cortex-leviathan"]),
        ("rollback-dry", []),
        ("rollback-runs", []),
        ("rollback-nothing", []),
        ("volume-moved", []),
        ("volume-grown", []),
        ("volume-shrunk", []),
        ("diff-to-unprivileged", []),
        (
            "to-unprivileged",
            [
                "PATCH namespaces/lab-to-unprivileged",
                "PATCH persistentvolumes/leviathan-models",
                "PATCH persistentvolumeclaims/leviathan-models",
                "PATCH deployments/cortex-leviathan",
            ],
        ),
        (
            "to-privileged",
            [
                "PATCH namespaces/lab-to-privileged",
                "PATCH deployments/cortex-leviathan",
                "DELETE persistentvolumeclaims/leviathan-models",
                "DELETE persistentvolumes/leviathan-models",
            ],
        ),
    ],
)
def test_changes_this_and_nothing_else(scene: str, changed: list[str], tmp_path: Path) -> None:
    with replayed(scene, tmp_path) as (playing, api):
        shown(playing, scene)
    assert real(api) == changed


def test_conflicts_name_field_manager_and_both_values(tmp_path: Path) -> None:
    with replayed("conflict", tmp_path) as (playing, _), pytest.raises(ClusterError) as caught:
        playing.apply()
    error = caught.value
    assert (error.status, error.reason, error.exit_code) == (409, "Conflict", ExitCode.APPLY)
    assert [(each.manager, each.field) for each in error.causes] == [
        ("kubectl-edit", "Deployment/cortex-leviathan.spec.replicas"),
        ("kubectl-edit", 'Deployment/cortex-leviathan.spec.template.spec.containers[name="engine"].image'),
    ]
    assert "is 2; --force-conflicts would set it to 1 and make leviathan its owner" in error.line()


def test_forcing_takes_over_only_when_it_is_asked_for(tmp_path: Path) -> None:
    with replayed("forced", tmp_path) as (playing, api):
        done = playing.apply(force_conflicts=True)
    (last,) = patches(api)
    assert last.query["force"] == "true"
    first = done.data()["overruled"][0]
    assert (first["field"], first["now"], first["wanted"]) == (".spec.replicas", 2, 1)
    with replayed("configured", tmp_path) as (playing, api):
        SCENES["configured"].act(playing)
    (last,) = patches(api)
    assert last.query["force"] == "false"


def test_a_namespace_of_others_does_not_get_our_label(tmp_path: Path) -> None:
    def label(api: ReplayApi) -> Any:
        (sent,) = [each for each in patches(api) if each.body["kind"] == "Namespace"]
        return sent.body["metadata"]["labels"].get("app.kubernetes.io/managed-by")

    with replayed("namespace-of-others", tmp_path) as (playing, api):
        playing.apply()
    assert label(api) is None
    with replayed("created", tmp_path) as (playing, api):
        playing.apply()
    assert label(api) == LABEL["app.kubernetes.io/managed-by"]


def test_what_kubectl_left_in_the_pod_is_said(tmp_path: Path) -> None:
    with replayed("kubectls", tmp_path) as (playing, _):
        SCENES["kubectls"].act(playing)
    talk = playing.talk.getvalue()
    assert ".spec.template.spec.nodeName = 'node-of-nobody' is not in the manifests, but " in talk
    assert "command = ['/bin/bash', '-c'] is not in the manifests, but " in talk
    assert "dnsPolicy" not in talk  # which the server fills in for everybody
    with replayed("forced", tmp_path) as (playing, _):
        SCENES["forced"].act(playing)
    assert "is not in the manifests" not in playing.talk.getvalue()


def sent_to_deployment(scene: str, *, folder: Path) -> Any:
    """The Deployment that a scene really applies, as if its namespace were `lab`."""
    with replayed(scene, folder) as (playing, api):
        SCENES[scene].act(playing)
    (sent,) = [each for each in patches(api) if "deployments" in each.path]
    body = json.loads(json.dumps(sent.body))
    body["metadata"]["namespace"] = "lab"
    return body


@pytest.mark.parametrize("scene", ["rollback-passed", "rollback-before", "rollback-to"])
def test_a_rollback_applies_what_was_applied_last_with_another_image(scene: str, tmp_path: Path) -> None:
    """Leaving a field out of a server-side apply would take it away."""
    wanted = recorded_deployment("configured")
    got = sent_to_deployment(scene, folder=tmp_path)
    container = wanted["spec"]["template"]["spec"]["containers"][0]
    before = container["image"]
    container["image"] = got["spec"]["template"]["spec"]["containers"][0]["image"]
    assert got == wanted
    assert container["image"] != before


def recorded_deployment(scene: str) -> Any:
    """The Deployment that was really applied when a scene was recorded, as if its namespace were `lab`."""
    found = json.loads((ANSWERS / "apply" / f"{scene}.json").read_text())
    (body,) = [
        each["sent"]
        for each in found
        if each["method"] == "PATCH" and "deployments" in each["path"] and "dryRun" not in each["query"]
    ]
    body["metadata"]["namespace"] = "lab"
    engine = body["spec"]["template"]["spec"]["containers"][0]
    assert body["spec"]["template"]["spec"]["nodeSelector"]
    assert engine["image"].startswith("192.168.3.10:5000/omni/engine@sha256:2")
    return body


def test_a_rollback_goes_over_an_image_that_was_set_by_hand(tmp_path: Path) -> None:
    with replayed("rollback-by-hand", tmp_path) as (playing, api):
        done = playing.rollback()
    assert (done.before, done.changed) == ("elsewhere:1", True)
    assert [each.query["force"] for each in api.asked if each.method == "PATCH"] == ["true"]


def test_a_rollback_says_where_it_goes(tmp_path: Path) -> None:
    with replayed("rollback-passed", tmp_path) as (playing, _):
        done = playing.rollback()
    assert done.after.endswith(f"@{ONE}")
    assert done.data()["source"] == "the last image that passed the smoke test"
    with replayed("rollback-nothing", tmp_path) as (playing, _), pytest.raises(ClusterError) as caught:
        playing.rollback()
    assert caught.value.reason == "NothingBefore"


def test_a_delete_is_done_when_everything_is_gone(tmp_path: Path) -> None:
    with replayed("delete", tmp_path) as (playing, api):
        done = playing.delete()
    assert done.gone[-1] == "Namespace/lab-delete"
    assert api.lines()[-1] == "GET /api/v1/namespaces/lab-delete"
    deleted = [each.query for each in api.asked if each.method == "DELETE"]
    assert deleted == [{"propagationPolicy": "Foreground"}] * 2 + [{}]
    with replayed("delete-held", tmp_path) as (playing, _), pytest.raises(ClusterError) as caught:
        SCENES["delete-held"].act(playing)
    assert caught.value.reason == "Timeout"
    assert "blocked by example.org/hold" in caught.value.line()


@pytest.mark.parametrize("scene", ["volume-moved", "volume-grown", "volume-shrunk"])
def test_a_bound_volume_is_not_changed_and_the_way_does_not_hang(scene: str, tmp_path: Path) -> None:
    """`kubectl delete persistentvolumes` would wait forever while the claim is there; see the scene delete-moved."""
    with replayed(scene, tmp_path) as (playing, _), pytest.raises(ClusterError) as caught:
        SCENES[scene].act(playing)
    assert caught.value.remedy.startswith("leviathan delete, then leviathan apply (")
    assert "kubectl delete" not in caught.value.remedy


def answered(scene: str, plural: str) -> Any:
    """What the server has made of our object of a kind when a scene was recorded."""
    found = json.loads((ANSWERS / "apply" / f"{scene}.json").read_text())
    [body] = [
        each["answer"]["body"]
        for each in found
        if each["method"] == "PATCH" and each["path"].split("/")[-2] == plural and "dryRun" not in each["query"]
    ]
    return body


@pytest.mark.parametrize(
    ("scene", "alike"), [("to-unprivileged", "created-unprivileged"), ("to-privileged", "created")]
)
def test_after_a_change_of_the_variant_nothing_of_the_other_one_is_left(scene: str, alike: str) -> None:
    """Server-side apply removes the fields that we own and no longer apply: the pod equals that of a new Deployment."""
    changed, new = (answered(each, "deployments")["spec"]["template"]["spec"] for each in (scene, alike))
    before = answered("created" if alike != "created" else "created-unprivileged", "deployments")
    assert changed == new
    assert changed != before["spec"]["template"]["spec"]


def test_the_pod_security_label_comes_and_goes_with_the_variant() -> None:
    def label(scene: str) -> Any:
        return answered(scene, "namespaces")["metadata"]["labels"].get(ENFORCE)

    assert (label("to-unprivileged"), label("to-privileged")) == (None, "privileged")
