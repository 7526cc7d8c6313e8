"""Walls of the second user that a cluster shows: its nodes, namespaces, Secrets and other releases."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.replay_api import Answer, ReplayApi
from walls_support import pod, site

from leviathan.cluster import secrets
from leviathan.cluster.client import Cluster, ClusterError
from leviathan.cluster.prune import labelled
from leviathan.manifests.rendering import render
from leviathan.preflight import api as api_checks
from leviathan.preflight import namespace, node_checks
from leviathan.preflight.check_result import Level
from leviathan.preflight.facts import Facts
from leviathan.terminal.output import Console


def test_wall_5_the_pull_secret_is_named_and_made(api: ReplayApi, cluster: Cluster, tmp_path: Path) -> None:
    wanted = site("image.pull_secret=login", "image.make_pull_secret=true", "registry.host=ghcr.io")
    assert pod("image.pull_secret=login")["imagePullSecrets"] == [{"name": "login"}]
    path = secrets.path(wanted, "login")
    api.add("GET", path, Answer(404, {"kind": "Status", "code": 404, "message": "not found"}))
    api.add("POST", path.rpartition("/")[0], Answer(201, {"kind": "Secret"}))
    config = {"auths": {"ghcr.io": {"username": "me", "password": "pa:ss"}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    made = secrets.ensure(wanted, cluster, {"DOCKER_CONFIG": str(tmp_path)}, Console())
    assert made == ["Secret/login"]
    sent = api.asked[-1].body
    assert sent["type"] == "kubernetes.io/dockerconfigjson"
    assert sent["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "leviathan"}
    with pytest.raises(ClusterError, match=r"no registry login to create Secret/login from.*docker login ghcr\.io"):
        secrets.ensure(wanted, cluster, {"DOCKER_CONFIG": str(tmp_path / "none")}, Console())


def test_wall_5_a_secret_that_is_there_is_left_alone(api: ReplayApi, cluster: Cluster) -> None:
    wanted = site("image.pull_secret=login", "image.make_pull_secret=true")
    api.add("GET", secrets.path(wanted, "login"), Answer(200, {"kind": "Secret", "metadata": {"name": "login"}}))
    assert secrets.ensure(wanted, cluster, {}, Console()) == []
    assert [each.method for each in api.asked] == ["GET"]


def facts(cluster: Cluster, *settings: str) -> Facts:
    return Facts(site(*settings), {}, Console(), connect=lambda: cluster)


@pytest.fixture
def answered(api: ReplayApi) -> Callable[[str, Any], None]:
    """Makes the API answer a GET."""
    api.add("GET", "/version", Answer(200, {"gitVersion": "v1.34.0", "major": "1", "minor": "34"}))

    def add(path: str, body: Any) -> None:
        api.add("GET", path, Answer(200, body))

    return add


def listed(kind: str, *items: Any) -> dict[str, Any]:
    return {"kind": f"{kind}List", "apiVersion": "v1", "metadata": {}, "items": list(items)}


def test_wall_10_of_several_nodes_the_one_with_most_gpus_is_checked(
    cluster: Cluster, answered: Callable[[str, Any], None]
) -> None:
    nodes = [
        {
            "metadata": {"name": name, "labels": {}},
            "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"nvidia.com/gpu": gpus}},
        }
        for name, gpus in (("one", "1"), ("four", "4"))
    ]
    answered("/api/v1/nodes", listed("Node", *nodes))
    answered("/api/v1/nodes/four", nodes[1])
    asked = facts(cluster, "cluster.node=", "cluster.node_labels=disk=fast")
    assert asked.node_name() == "four"
    assert [each.level for each in node_checks.node(asked)] == [Level.OK]


def test_wall_10_no_node_with_the_labels(cluster: Cluster, answered: Callable[[str, Any], None]) -> None:
    answered("/api/v1/nodes", listed("Node"))
    (found,) = node_checks.node(facts(cluster, "cluster.node=", "cluster.node_labels=disk=fast"))
    assert found.text == "no node has the labels disk=fast"
    assert "correct cluster.node_labels" in found.fix


def test_wall_9_no_runtime_class_is_asked_for(cluster: Cluster) -> None:
    (found,) = api_checks.runtime_class(facts(cluster, "cluster.runtime_class="))
    assert found.level is Level.OK


def test_wall_13_a_namespace_of_others_is_warned_of(cluster: Cluster, answered: Callable[[str, Any], None]) -> None:
    answered("/api/v1/namespaces/default", {"metadata": {"name": "default", "labels": {}}, "status": {}})
    (found,) = namespace.namespace(facts(cluster, "cluster.namespace=default"))
    assert found.level is Level.WARNING
    assert "for all pods in it, and delete does not remove that label" in found.text
    assert "--set cluster.namespace=cortex-leviathan" in found.fix


def test_wall_13_the_namespace_need_not_be_ours(api: ReplayApi, cluster: Cluster, answered: Any) -> None:
    kinds = [each["kind"] for each in render(site("cluster.make_namespace=false"), {}).objects]
    assert kinds == ["Deployment", "Service"]
    api.add("GET", "/api/v1/namespaces/lab", Answer(404, {"kind": "Status", "code": 404}))
    (found,) = namespace.namespace(facts(cluster, "cluster.make_namespace=false", "cluster.namespace=lab"))
    assert found.fix == "kubectl create namespace lab"


def test_wall_16_a_release_prunes_only_its_own(api: ReplayApi, cluster: Cluster) -> None:
    def each(name: str, **labels: str) -> dict[str, Any]:
        return {
            "metadata": {
                "name": name,
                "namespace": "ai",
                "labels": {"app.kubernetes.io/managed-by": "leviathan"} | labels,
            }
        }

    first, second = each("first"), each("second", **{"app.kubernetes.io/instance": "second"})
    for kind, path in (
        ("Deployment", "/apis/apps/v1/namespaces/ai/deployments"),
        ("Service", "/api/v1/namespaces/ai/services"),
        ("PersistentVolumeClaim", "/api/v1/namespaces/ai/persistentvolumeclaims"),
        ("PersistentVolume", "/api/v1/persistentvolumes"),
    ):
        items = [first, second] if kind == "Deployment" else []
        api.add("GET", path, Answer(200, listed(kind, *items)))
    for release, name in (("", "first"), ("second", "second")):
        found = labelled(cluster, "ai", lambda _text: None, release)
        assert [each["metadata"]["name"] for each in found] == [name]


def test_wall_16_a_second_release_must_not_share_the_label(
    cluster: Cluster, answered: Callable[[str, Any], None]
) -> None:
    other = {
        "metadata": {"name": "cortex-leviathan"},
        "spec": {"template": {"metadata": {"labels": {"app": "leviathan-671b"}}}},
    }
    answered("/apis/apps/v1/namespaces/ai-workloads/deployments", listed("Deployment", other))
    found = list(namespace._rivals(facts(cluster, "workload.deployment=second")))
    assert found[0].fix == "leviathan preflight --set workload.app=second"
    assert "pods of Deployment/cortex-leviathan also have app=leviathan-671b" in found[0].text
