"""Fields of server-side apply, what the pod check says, and what a rollback sends."""

from typing import Any

import pytest
from fakes.replay_api import Answer, ReplayApi

from leviathan.cluster.client import Cluster, ClusterError
from leviathan.cluster.kinds import KINDS, in_order, is_ours, kind_of, path_of
from leviathan.cluster.managed_fields import MISSING, applied_fields, extract, extras, value_at, without_servers
from leviathan.cluster.podcheck import check_pod
from leviathan.cluster.restore_image import image_of, run, with_image
from leviathan.errors import RenderError, UsageError
from leviathan.manifests.rendering import render
from leviathan.site.choices import Variant
from leviathan.site.load import load
from leviathan.site.schema import Site
from leviathan.terminal.output import Console

LABEL = {"app.kubernetes.io/managed-by": "leviathan"}
PORTS = [{"port": 80, "protocol": "TCP"}]
POD = {
    "metadata": {"labels": {"app": "x", "a.b/c": "d"}},
    "spec": {
        "containers": [{"name": "engine", "image": "i:1"}, {"name": "b", "ports": [{"port": 80, "protocol": "TCP"}]}]
    },
    "finalizers": ["one", "two"],
}


# Fields


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (".metadata.labels.app", "x"),
        (".metadata.labels.a.b/c", "d"),
        ('.spec.containers[name="engine"].image', "i:1"),
        ('.spec.containers[name="b"].ports[port=80,protocol="TCP"].port', 80),
        (".spec.containers[1].name", "b"),
        ('.finalizers[="two"]', "two"),
        (".spec.replicas", MISSING),
        ('.spec.containers[name="c"].image', MISSING),
        (".spec.containers[7].image", MISSING),
        ('.finalizers[="three"]', MISSING),
        (".finalizers.one", MISSING),
        ("spec", MISSING),
    ],
)
def test_a_field_is_found_by_its_name_in_a_conflict(field: str, value: Any) -> None:
    assert value_at(POD, field) == value


def test_extract_keeps_what_a_manager_owns_in_the_order_of_the_lists() -> None:
    fields = {
        "f:metadata": {"f:labels": {"f:a.b/c": {}}},
        "f:spec": {
            "f:containers": {
                'k:{"name":"b"}': {
                    ".": {},
                    "f:name": {},
                    "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:port": {}}},
                },
                'k:{"name":"engine"}': {".": {}, "f:image": {}, "f:name": {}},
                'k:{"name":"gone"}': {".": {}, "f:image": {}},
            },
            "f:gone": {},
        },
        "f:finalizers": {'v:"two"': {}},
    }
    assert extract(POD, fields) == {
        "metadata": {"labels": {"a.b/c": "d"}},
        "spec": {"containers": [{"name": "engine", "image": "i:1"}, {"name": "b", "ports": PORTS}]},
        "finalizers": ["two"],
    }
    assert extract({"a": [1, 2, 3]}, {"f:a": {"i:0": {}, "i:2": {}}}) == {"a": [1, 3]}
    assert extract({"a": {"atomic": [1]}, "b": 1}, {"f:a": {}}) == {"a": {"atomic": [1]}}


def test_only_what_is_applied_is_ours_not_what_is_updated_or_in_a_status() -> None:
    def entry(operation: str, **more: str) -> dict[str, Any]:
        return {"manager": "leviathan", "operation": operation, "fieldsV1": {"f:x": {}}, **more}

    def owned(*entries: dict[str, Any]) -> dict[str, Any]:
        return applied_fields({"metadata": {"managedFields": list(entries)}}, "leviathan")

    assert owned(entry("Update"), entry("Apply", subresource="scale")) == {}
    assert owned(entry("Update"), entry("Apply")) == {"f:x": {}}


def test_extras_are_fields_that_the_other_has_not() -> None:
    plain = {"a": 1, "c": [{"name": "x", "image": "i"}], "args": ["1"]}
    live = {
        "a": 2,
        "b": {"c": 3},
        "c": [{"name": "x", "image": "j", "command": ["sh"]}, {"name": "y"}],
        "args": ["1", "2"],
    }
    assert dict(extras(live, plain)) == {
        ".b": {"c": 3},
        '.c[name="x"].command': ["sh"],
        '.c[name="y"]': {"name": "y"},
    }
    assert list(extras(plain, live)) == []


def test_the_servers_part_is_left_out_of_a_comparison() -> None:
    each = {"metadata": {"name": "x", "uid": "u", "managedFields": [], "labels": {}}, "status": {"a": 1}, "spec": {}}
    assert without_servers(each) == {"metadata": {"name": "x", "labels": {}}, "spec": {}}
    assert each["status"] == {"a": 1}  # a copy


# Kinds


def test_every_object_of_both_variants_has_a_path(site_with_digest: Site) -> None:
    for variant in Variant:
        objects = render(site_of(site_with_digest, variant), {}).objects
        assert {each["kind"] for each in objects} <= {kind.name for kind in KINDS}
        assert in_order(objects)[0]["kind"] == "Namespace"
        paths = [path_of(each) for each in in_order(objects)]
        assert len(set(paths)) == len(paths)
        assert "/apis/apps/v1/namespaces/ai-workloads/deployments/cortex-leviathan" in paths
    with pytest.raises(RenderError, match="StatefulSet"):
        kind_of({"kind": "StatefulSet"})


def site_of(site: Site, variant: Variant) -> Site:
    digest = site.image.digest
    return load(
        None, environ={}, settings=(f"workload.variant={variant.value}", f"image.digest={digest}"), named={}
    ).site


def test_ours_is_what_carries_our_label() -> None:
    assert is_ours({"metadata": {"labels": LABEL}})
    assert not is_ours({"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}})
    assert not is_ours({"metadata": {"labels": None}})
    assert not is_ours({"metadata": {}})


def deployment(site: Site) -> Any:
    return next(each for each in render(site, {}).objects if each["kind"] == "Deployment")


@pytest.mark.parametrize(
    ("status", "message", "refused"),
    [
        (403, 'pods is forbidden: User "u" cannot create resource "pods" in API group ""', False),
        (403, 'error looking up service account ai/default: serviceaccount "default" not found', False),
        (403, 'pods "x" is forbidden: exceeded quota: gpus', True),
        (422, "spec.containers[0].image: Required value", True),
        (404, 'namespaces "ai" not found', False),
    ],
)
def test_the_pod_check_takes_only_refusals_of_the_pod_for_one(
    api: ReplayApi, cluster: Cluster, site_with_digest: Site, status: int, message: str, refused: bool
) -> None:
    path = "/api/v1/namespaces/ai-workloads/pods"
    api.add("POST", path, Answer(status, {"message": message}), Answer(201, {"kind": "Pod"}))
    if refused:
        with pytest.raises(ClusterError, match="the cluster would refuse the pod of Deployment/cortex-leviathan"):
            check_pod(cluster, deployment(site_with_digest))
    else:
        assert check_pod(cluster, deployment(site_with_digest)) is False
    assert check_pod(cluster, deployment(site_with_digest)) is True
    sent = api.asked[0]
    assert sent.query == {"dryRun": "All"}
    assert sent.body["metadata"]["generateName"]
    assert sent.body["spec"] == deployment(site_with_digest)["spec"]["template"]["spec"]


STANDARD = Answer(403, {"message": 'pods "x" is forbidden: violates PodSecurity "baseline:latest": privileged'})


def test_a_namespace_that_was_just_labelled_may_refuse_for_a_moment(
    api: ReplayApi, cluster: Cluster, site_with_digest: Site
) -> None:
    """Admission's cache follows the label. Any other refusal, and this one at last, is believed."""
    pauses: list[float] = []
    cluster.transport.sleep = pauses.append
    path = "/api/v1/namespaces/ai-workloads/pods"
    api.add("POST", path, STANDARD, STANDARD, Answer(201, {"kind": "Pod"}), STANDARD)
    assert check_pod(cluster, deployment(site_with_digest), again=25) is True
    assert len(api.asked) == 3
    assert pauses == [0.2, 0.2]
    with pytest.raises(ClusterError, match="the cluster would refuse the pod"):
        check_pod(cluster, deployment(site_with_digest))
    assert len(api.asked) == 4
    with pytest.raises(ClusterError, match="the cluster would refuse the pod"):
        check_pod(cluster, deployment(site_with_digest), again=25)
    assert len(api.asked) == 4 + 26


# Rollback


def test_a_deployment_that_we_never_applied_gets_the_image_alone() -> None:
    containers = [{"name": "sidecar", "image": "s"}, {"name": "engine", "image": "old"}]
    live: dict[str, Any] = {
        "metadata": {"name": "x", "namespace": "ai", "labels": {"a": "b"}},
        "spec": {"replicas": 1, "template": {"spec": {"containers": containers}}},
    }
    assert image_of(live["spec"]["template"]) == "old"
    assert with_image(live, "new") == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "x", "namespace": "ai"},
        "spec": {"template": {"spec": {"containers": [{"name": "engine", "image": "new"}]}}},
    }


def test_what_is_no_digest_is_a_usage_error(api: ReplayApi, cluster: Cluster, site_with_digest: Site) -> None:
    with pytest.raises(UsageError, match="--to is not a digest"):
        run(site_with_digest, cluster, Console(), to="latest")
    assert api.asked == []
