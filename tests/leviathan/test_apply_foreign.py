"""What is foreign in a namespace, and what may not be listed there."""

from typing import Any

import pytest
from fakes.replay_api import Answer, ReplayApi

from leviathan.cluster.client import Cluster, ClusterError
from leviathan.cluster.dry_run import look
from leviathan.cluster.foreign import foreign
from leviathan.cluster.kinds import path_of
from leviathan.cluster.prune import labelled
from leviathan.manifests.rendering import render
from leviathan.site.schema import Site

LABEL = {"app.kubernetes.io/managed-by": "leviathan"}


# What lives in a namespace


def discovery(api: ReplayApi, *, groups: tuple[str, ...] = ()) -> None:
    """An API server with config maps, pods and what `groups` has."""
    verbs = ["get", "list"]
    resources = [
        {"name": "configmaps", "namespaced": True, "kind": "ConfigMap", "verbs": verbs},
        {"name": "pods", "namespaced": True, "kind": "Pod", "verbs": verbs},
        {"name": "pods/log", "namespaced": True, "kind": "Pod", "verbs": ["get"]},
        {"name": "bindings", "namespaced": True, "kind": "Binding", "verbs": ["create"]},
        {"name": "nodes", "namespaced": False, "kind": "Node", "verbs": verbs},
    ]
    api.add("GET", "/api/v1", Answer(body={"resources": resources}))
    api.add("GET", "/apis", Answer(body={"groups": [{"preferredVersion": {"groupVersion": each}} for each in groups]}))


def items(api: ReplayApi, plural: str, kind: str, *metas: dict[str, Any]) -> None:
    found = [{"metadata": {"uid": f"{plural}-{place}", **each}} for place, each in enumerate(metas)]
    body = {"apiVersion": "v1", "kind": f"{kind}List", "metadata": {}, "items": found}
    api.add("GET", f"/api/v1/namespaces/ai/{plural}", Answer(body=body))


def test_what_is_ours_or_belongs_to_it_or_is_kubernetes_own_is_not_foreign(api: ReplayApi, cluster: Cluster) -> None:
    discovery(api)
    items(api, "configmaps", "ConfigMap", {"name": "kube-root-ca.crt"}, {"name": "ours", "labels": LABEL})
    owner, middle = [{"uid": "configmaps-1"}], [{"uid": "pods-0"}]
    # The dependent of a dependent comes before its owner.
    items(
        api,
        "pods",
        "Pod",
        {"name": "middle", "ownerReferences": owner},
        {"name": "leaf", "ownerReferences": middle},
    )
    assert foreign(cluster, "ai") == []


def test_what_is_of_others_is_foreign(api: ReplayApi, cluster: Cluster) -> None:
    discovery(api)
    items(api, "configmaps", "ConfigMap", {"name": "kube-root-ca.crt"}, {"name": "theirs"})
    items(api, "pods", "Pod", {"name": "sysadmin-logistics", "ownerReferences": [{"uid": "configmaps-1"}]})
    assert foreign(cluster, "ai") == ["ConfigMap/theirs", "Pod/sysadmin-logistics"]


def test_what_cannot_be_looked_at_counts_as_foreign(api: ReplayApi, cluster: Cluster) -> None:
    discovery(api, groups=("metrics.example/v1",))
    cluster.transport.patience = cluster.transport.patience.__class__(first_s=0, again_s=0)
    items(api, "pods", "Pod")
    api.add("GET", "/api/v1/namespaces/ai/configmaps", Answer(403, {"reason": "Forbidden", "message": "no"}))
    api.add("GET", "/apis/metrics.example/v1", Answer(503, {}))
    api.add("GET", "/apis/metrics.example/v1/namespaces/ai/*", Answer(503, {}))
    assert foreign(cluster, "ai") == ["/apis/metrics.example/v1 ? (HTTP503)", "ConfigMap ? (Forbidden)"]


def test_volumes_that_may_not_be_listed_are_said_and_left(api: ReplayApi, cluster: Cluster) -> None:
    refusal = Answer(403, {"reason": "Forbidden", "message": "cannot list persistentvolumes"})
    empty = {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": []}
    api.add("GET", "/api/v1/persistentvolumes", refusal)
    for path in ("/api/v1/namespaces/ai/services", "/api/v1/namespaces/ai/persistentvolumeclaims"):
        api.add("GET", path, Answer(body=empty))
    path = "/apis/apps/v1/namespaces/ai/deployments"
    api.add("GET", path, Answer(body=empty), refusal)
    said: list[str] = []
    assert labelled(cluster, "ai", said.append) == []
    assert said == ["note: skipping persistentvolumes, because they cannot be listed: cannot list persistentvolumes"]
    with pytest.raises(ClusterError, match="may not"):  # what is in the namespace must be known
        labelled(cluster, "ai", said.append)


# Looking at several objects


def test_all_refusals_are_said_at_once(api: ReplayApi, cluster: Cluster, site_with_digest: Site) -> None:
    objects = render(site_with_digest, {}).objects
    space = {"metadata": {"name": "ai-workloads", "labels": LABEL}}
    for each in objects:
        path = path_of(each)
        live = Answer(body=space) if each["kind"] == "Namespace" else Answer(404, {})
        api.add("GET", path, live)
        refusal = Answer(422, {"reason": "Invalid", "message": f"{each['kind']} is wrong"})
        api.add("PATCH", path, Answer(body=space) if each["kind"] == "Namespace" else refusal)
    with pytest.raises(ClusterError) as caught:
        look(cluster, objects)
    assert "refuses 2 objects" in caught.value.line()
    assert "Deployment/cortex-leviathan: Deployment is wrong" in caught.value.line()
    assert "Service/leviathan-inference: Service is wrong" in caught.value.line()
