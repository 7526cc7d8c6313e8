"""`leviathan.cluster.client` over real HTTP: what errors say."""

import json
from dataclasses import replace as changed

import pytest
from cluster_support import DEPLOYMENT, POD, QUICK, status
from fakes.replay_api import Answer, ReplayApi

from leviathan.cluster.api_errors import ApiRequest, refused
from leviathan.cluster.client import Cluster, ClusterError, exits
from leviathan.errors import ExitCode


@pytest.mark.parametrize(
    ("code", "reason", "message", "says"),
    [
        (401, "Unauthorized", "Unauthorized", ("does not accept these credentials", "talosctl kubeconfig")),
        (
            403,
            "Forbidden",
            'User "u" cannot patch',
            ("may not", "kubectl --context replay auth can-i patch deployments"),
        ),
        (403, "Forbidden", 'violates PodSecurity "baseline:latest"', ("Pod Security", "enforce=privileged")),
        (403, "Forbidden", "exceeded quota: gpus", ("quota", "describe resourcequota -n ai")),
        (404, "NotFound", 'namespaces "ai" not found', ("deployments/x does not exist", "leviathan apply")),
        (409, "AlreadyExists", "exists", ("exists already", "get deployments/x -n ai")),
        (409, "Conflict", "the object has been modified", ("at the same time", "run the command again")),
        (422, "Invalid", "spec.replicas: Invalid value", ("invalid", "leviathan site")),
        (403, "Forbidden", 'RuntimeClass "nvidia" not found', ("RuntimeClass does not exist", "cluster.runtime_class")),
        (422, "Invalid", "spec.selector: field is immutable", ("invalid", "delete deployments x -n ai")),
        (422, "Invalid", "provided port is already allocated", ("invalid", "engine.node_port")),
        (429, "TooManyRequests", "slow down", ("overloaded", "wait")),
        (500, "InternalError", "etcd", ("internal error", "/readyz?verbose")),
        (418, "", "tea", ("HTTP 418", "kubectl --context replay get --raw")),
    ],
)
def test_each_refusal_says_what_why_and_the_way_out(
    api: ReplayApi, cluster: Cluster, code: int, reason: str, message: str, says: tuple[str, ...]
) -> None:
    cluster.transport.patience = changed(QUICK, first_s=0)
    api.add("PATCH", DEPLOYMENT, status(code, reason, message))
    with pytest.raises(ClusterError) as caught:
        cluster.apply(DEPLOYMENT, {"a": 1})
    line = caught.value.line()
    assert "\n" not in line
    assert f"(PATCH {DEPLOYMENT} on {api.address})" in line
    for part in (message, *says):
        assert part in line
    assert caught.value.status == code


VOLUME, CLAIM = "/api/v1/persistentvolumes/m", "/api/v1/namespaces/ai/persistentvolumeclaims/m"
SOURCE = "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"
CLAIMED = "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName"
SMALLER = "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
RESIZED = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support it"


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        (VOLUME, 422, SOURCE),
        (VOLUME, 422, "spec.nodeAffinity: Invalid value: {}: field is immutable"),
        (CLAIM, 422, CLAIMED),
        (CLAIM, 422, SMALLER),
        (CLAIM, 403, RESIZED),
    ],
)
def test_a_volume_is_made_anew_by_delete_and_apply(path: str, code: int, message: str) -> None:
    """`kubectl delete` of a bound volume, or of a claim in use, waits forever for what protects it."""
    error = refused(ApiRequest("PATCH", path, "", "http://x"), code, json.dumps({"message": message}))
    assert error.remedy.startswith("leviathan delete, then leviathan apply")
    assert "kubectl delete" not in error.remedy
    other = refused(ApiRequest("PATCH", DEPLOYMENT, "", "http://x"), 422, json.dumps({"message": SOURCE}))
    assert other.remedy.startswith("kubectl delete deployments x -n ai")


def test_a_conflict_names_each_manager_and_field(api: ReplayApi, cluster: Cluster) -> None:
    causes = [
        {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl-edit" using apps/v1', "field": ".spec.a"},
        {"reason": "FieldManagerConflict", "message": 'conflict with "hpa" using apps/v1', "field": ".spec.b"},
    ]
    api.add("PATCH", DEPLOYMENT, status(409, "Conflict", "Apply failed with 2 conflicts", causes=causes))
    with pytest.raises(ClusterError, match="--force-conflicts") as caught:
        cluster.apply(DEPLOYMENT, {"a": 1})
    assert [(each.manager, each.field) for each in caught.value.causes] == [
        ("kubectl-edit", ".spec.a"),
        ("hpa", ".spec.b"),
    ]
    assert json.loads(json.dumps(caught.value.report()))["causes"][1]["field"] == ".spec.b"


def test_what_is_no_status_object_is_still_one_line(api: ReplayApi, cluster: Cluster) -> None:
    api.add("GET", POD, Answer(403, text="<html>\n<h1>no\nentry</h1></html>"), Answer(200, text="hello"))
    with pytest.raises(ClusterError, match="no entry"):
        cluster.get(POD)
    with pytest.raises(ClusterError, match="hello"):
        cluster.get(POD)


def test_a_terminating_namespace_says_wait() -> None:
    body = {"message": "being terminated", "details": {"causes": [{"reason": "NamespaceTerminating"}]}}
    asked = ApiRequest("PATCH", DEPLOYMENT, "", "http://x")
    assert "kubectl wait --for=delete namespace/ai" in refused(asked, 403, json.dumps(body)).line()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/namespaces/ai", ("namespaces", "namespaces/ai", "ai")),
        ("/api/v1/namespaces/ai/pods", ("pods", "pods", "ai")),
        ("/api/v1/namespaces/ai/pods/x/log", ("pods", "pods/x", "ai")),
        ("/apis/apps/v1/namespaces/ai/deployments/x", ("deployments", "deployments/x", "ai")),
        ("/api/v1/persistentvolumes/m", ("persistentvolumes", "persistentvolumes/m", "")),
        ("/version", ("version", "version", "")),
    ],
)
def test_paths_are_named(path: str, expected: tuple[str, str, str]) -> None:
    asked = ApiRequest("GET", path, "", "")
    assert (asked.resource, asked.object, asked.namespace) == expected


def test_an_error_leaves_a_phase_with_its_exit_status() -> None:
    error = ClusterError("no")
    assert error.exit_code is ExitCode.FAILED
    with pytest.raises(ClusterError), exits(ExitCode.APPLY):
        raise error
    assert error.report()["exit_code"] == 6
