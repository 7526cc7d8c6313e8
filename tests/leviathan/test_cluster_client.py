"""`leviathan.cluster.client` over real HTTP: what is sent, and what is tried again."""

from dataclasses import replace as changed
from itertools import pairwise

import pytest
from cluster_support import DEPLOYMENT, POD, QUICK, status
from fakes.replay_api import Answer, ReplayApi

from leviathan.cluster.client import Cluster, ClusterError


def test_get_sends_the_query_and_over_plain_http_no_token(api: ReplayApi, cluster: Cluster) -> None:
    api.add("GET", POD, Answer(body={"kind": "Pod"}))
    assert cluster.get(POD, resourceVersion="0") == {"kind": "Pod"}
    (asked,) = api.asked
    assert asked.query == {"resourceVersion": "0"}
    assert "authorization" not in asked.headers  # as with kubectl


def test_get_of_nothing_is_none_and_other_refusals_are_not(api: ReplayApi, cluster: Cluster) -> None:
    api.add("GET", POD, status(404, "NotFound", 'pods "x" not found'), status(403, "Forbidden", "no"))
    assert cluster.get(POD) is None
    with pytest.raises(ClusterError) as caught:
        cluster.get(POD)
    assert (caught.value.status, caught.value.reason) == (403, "Forbidden")


def test_list_reads_all_pages_and_names_each_kind(api: ReplayApi, cluster: Cluster) -> None:
    path = "/api/v1/namespaces/ai/pods"
    page = {"apiVersion": "v1", "kind": "PodList"}
    api.add("GET", path, Answer(body={**page, "metadata": {}, "items": [{"n": 2}]}), **{"continue": "more"})
    api.add("GET", path, Answer(body={**page, "metadata": {"continue": "more"}, "items": [{"n": 1}]}))
    api.exchanges.reverse()  # without `continue` first: what asks for more fits both
    api.exchanges.sort(key=lambda each: "continue" not in each.query)
    found = cluster.list(path, labelSelector="a=b")
    assert found == [{"apiVersion": "v1", "kind": "Pod", "n": 1}, {"apiVersion": "v1", "kind": "Pod", "n": 2}]
    assert [each.query["labelSelector"] for each in api.asked] == ["a=b", "a=b"]


def test_list_begins_again_when_its_pages_expired(api: ReplayApi, cluster: Cluster) -> None:
    path = "/api/v1/pods"
    page = {"apiVersion": "v1", "kind": "PodList"}
    api.add("GET", path, status(410, "Expired", "too old"), **{"continue": "gone"})
    first = Answer(body={**page, "metadata": {"continue": "gone"}, "items": [{"n": 1}]})
    api.add("GET", path, first, Answer(body={**page, "metadata": {}, "items": [{"n": 1}, {"n": 2}]}))
    assert [each["n"] for each in cluster.list(path)] == [1, 2]


def test_apply_is_server_side_and_ours(api: ReplayApi, cluster: Cluster) -> None:
    api.add("PATCH", DEPLOYMENT, Answer(body={"kind": "Deployment"}))
    cluster.apply(DEPLOYMENT, {"spec": {}})
    cluster.apply(DEPLOYMENT, {"spec": {}}, force=True, dry_run=True)
    first, second = api.asked
    assert first.headers["content-type"] == "application/apply-patch+yaml"
    assert first.body == {"spec": {}}
    assert first.query == {"fieldManager": "leviathan", "force": "false", "fieldValidation": "Strict"}
    assert second.query == {**first.query, "force": "true", "dryRun": "All"}


def test_create_patch_and_delete(api: ReplayApi, cluster: Cluster) -> None:
    api.add("POST", "/api/v1/namespaces", Answer(201, {"made": True}))
    api.add("PATCH", POD, Answer(body={"patched": True}))
    api.add("DELETE", POD, Answer(body={"deleted": True}), status(404, "NotFound", "gone"))
    assert cluster.create("/api/v1/namespaces", {"a": 1}, dryRun="All") == {"made": True}
    assert cluster.patch(POD, {"metadata": {}}, content_type="application/merge-patch+json") == {"patched": True}
    assert cluster.delete(POD, propagationPolicy="Foreground") == {"deleted": True}
    assert cluster.delete(POD) is None
    created, patched, deleted, _ = api.asked
    assert (created.body, created.query) == ({"a": 1}, {"dryRun": "All"})
    assert (patched.headers["content-type"], patched.query["fieldManager"]) == (
        "application/merge-patch+json",
        "leviathan",
    )
    assert deleted.query == {"propagationPolicy": "Foreground"}


@pytest.mark.parametrize("passing", [Answer(503, {}), Answer(500, {}), Answer(429, {}), Answer(cut=True)])
def test_a_read_is_tried_until_it_succeeds(api: ReplayApi, cluster: Cluster, passing: Answer) -> None:
    api.add("GET", POD, passing, passing, passing, Answer(body={"at": "last"}))
    assert cluster.get(POD) == {"at": "last"}
    assert len(api.asked) == 4


def test_a_read_gives_up_at_the_deadline(api: ReplayApi, cluster: Cluster) -> None:
    waits: list[float] = []
    now = [0.0]

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    transport = cluster.transport
    transport.clock, transport.sleep = (lambda: now[0]), sleep
    transport.patience = changed(QUICK, first_s=10, again_s=60, pause_s=0.25)
    api.add("GET", POD, Answer(503, {}))
    for budget in (10, 60):  # the second time the server is known to be there
        waits.clear()
        with pytest.raises(ClusterError, match="the API server has an internal error"):
            cluster.get(POD)
        assert budget - 5 <= sum(waits) < budget
        assert all(early <= late for early, late in pairwise(waits))


def test_writes_are_tried_again_only_where_they_may_be(api: ReplayApi, cluster: Cluster) -> None:
    down = Answer(503, {})
    for method, path in (("PATCH", DEPLOYMENT), ("DELETE", POD), ("POST", "/api/v1/namespaces"), ("PATCH", POD)):
        api.add(method, path, down)
    with pytest.raises(ClusterError):
        cluster.apply(DEPLOYMENT, {})
    with pytest.raises(ClusterError):
        cluster.delete(POD)
    with pytest.raises(ClusterError):
        cluster.create("/api/v1/namespaces", {"a": 1})
    with pytest.raises(ClusterError):
        cluster.patch(POD, {}, content_type="application/merge-patch+json")
    lines = [each.line for each in api.asked]
    assert [lines.count(line) for line in dict.fromkeys(lines)] == [2, 2, 1, 1]


def test_too_many_requests_wait_as_long_as_the_server_says(api: ReplayApi, cluster: Cluster) -> None:
    waits: list[float] = []
    cluster.transport.sleep = waits.append
    cluster.transport.patience = changed(QUICK, first_s=100)
    busy = Answer(429, {}, headers={"Retry-After": ["7"]})
    api.add("POST", "/api/v1/namespaces", busy, Answer(body={"made": True}))
    assert cluster.create("/api/v1/namespaces", {"a": 1}) == {"made": True}
    assert waits == [7.0]


def test_a_slow_answer_is_not_waited_for_without_end(api: ReplayApi, cluster: Cluster) -> None:
    api.add("GET", POD, Answer(after_s=30))
    with pytest.raises(ClusterError) as caught:
        cluster.get(POD)
    assert caught.value.reason == "Unreachable"
    assert "read timeout" in str(caught.value).lower()


def test_watch_gives_events_and_ends_with_the_server(api: ReplayApi, cluster: Cluster) -> None:
    events = ({"type": "ADDED", "object": {"n": 1}}, {"type": "BOOKMARK", "object": {"n": 2}})
    api.add("GET", "/api/v1/pods", Answer(lines=events))
    assert list(cluster.watch("/api/v1/pods", timeout_s=9, resource_version="5", fieldSelector="a=b")) == [
        ("ADDED", {"n": 1}),
        ("BOOKMARK", {"n": 2}),
    ]
    assert api.asked[0].query == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "9",
        "resourceVersion": "5",
        "fieldSelector": "a=b",
    }


def test_watch_ends_at_its_time_though_events_go_on(api: ReplayApi, cluster: Cluster) -> None:
    event = {"type": "MODIFIED", "object": {}}
    api.add("GET", "/api/v1/pods", Answer(lines=(event,) * 200, between_s=0.05))
    assert 2 <= len(list(cluster.watch("/api/v1/pods", timeout_s=0.3))) <= 20


def test_watch_ends_when_the_connection_breaks(api: ReplayApi, cluster: Cluster) -> None:
    api.add("GET", "/api/v1/pods", Answer(lines=({"type": "ADDED", "object": {}},), cut=True))
    assert list(cluster.watch("/api/v1/pods", timeout_s=9)) == [("ADDED", {})]


def test_watch_of_a_forgotten_version_is_expired(api: ReplayApi, cluster: Cluster) -> None:
    gone = {"kind": "Status", "code": 410, "reason": "Gone", "message": "too old resource version: 1 (9)"}
    api.add("GET", "/api/v1/pods", Answer(lines=({"type": "ERROR", "object": gone},)))
    with pytest.raises(ClusterError, match="too old resource version") as caught:
        list(cluster.watch("/api/v1/pods", timeout_s=9, resource_version="1"))
    assert (caught.value.status, caught.value.reason) == (410, "Expired")


def test_log_gives_lines(api: ReplayApi, cluster: Cluster) -> None:
    api.add("GET", f"{POD}/log", Answer(text="one\ntwo \N{GREEK SMALL LETTER ALPHA}\n\nlast without end"))
    lines = list(cluster.log("ai", "x", container="engine", tail=50, previous=True, since_s=60))
    assert lines == ["one", "two \N{GREEK SMALL LETTER ALPHA}", "", "last without end"]
    assert api.asked[0].query == {
        "container": "engine",
        "tailLines": "50",
        "previous": "true",
        "sinceSeconds": "60",
    }


def test_log_follows_until_the_container_ends(api: ReplayApi, cluster: Cluster) -> None:
    api.add("GET", f"{POD}/log", Answer(lines=("a", "b"), between_s=0.02))
    assert list(cluster.log("ai", "x", follow=True)) == ["a", "b"]
    assert api.asked[0].query == {"follow": "true"}


def test_log_without_activity_and_with_a_broken_connection(api: ReplayApi, cluster: Cluster) -> None:
    silent = Answer(lines=("a", "b"), between_s=0.3)
    api.add("GET", f"{POD}/log", silent, Answer(lines=("a",), cut=True))
    stream = cluster.log("ai", "x", follow=True, timeout_s=0.4)
    assert next(stream) == "a"
    assert list(stream) == ["b"]  # each pause is shorter
    stream = cluster.log("ai", "x", follow=True, timeout_s=0.4)
    assert next(stream) == "a"
    with pytest.raises(ClusterError) as caught:
        next(stream)
    assert caught.value.reason == "ConnectionLost"
    api.exchanges[:] = [changed(api.exchanges[0], answer=changed(silent, between_s=2.0))]
    with pytest.raises(ClusterError) as caught:
        list(cluster.log("ai", "x", follow=True, timeout_s=0.1))
    assert caught.value.reason == "Timeout"


def test_warnings_are_kept(api: ReplayApi, cluster: Cluster) -> None:
    text = 'would violate PodSecurity \\"baseline:latest\\": privileged'
    api.add("GET", POD, Answer(body={}, headers={"Warning": [f'299 - "{text}"', '299 - "second"']}))
    cluster.get(POD)
    assert cluster.warnings == ('would violate PodSecurity "baseline:latest": privileged', "second")
