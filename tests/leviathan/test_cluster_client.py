"""`leviathan.cluster.client` over real HTTP: what is sent, what is tried again, and what errors say."""

import json
import os
import ssl
from collections.abc import Iterator
from dataclasses import replace as changed
from itertools import pairwise
from pathlib import Path

import pytest
from replay_api import Answer, ReplayApi, replay

from leviathan.cluster.client import Cluster, ClusterError, Patience, connect, exits
from leviathan.cluster.errors import Asked, refused
from leviathan.errors import ExitCode
from leviathan.site import Site
from leviathan.site_load import load

POD = "/api/v1/namespaces/ai/pods/x"
DEPLOYMENT = "/apis/apps/v1/namespaces/ai/deployments/x"
QUICK = Patience(first_s=0.3, again_s=0.6, request_s=0.5, connect_s=1.0, pause_s=0.01)


@pytest.fixture
def site() -> Site:
    """The default site."""
    return load(None, environ={}, settings=(), named={}).site


@pytest.fixture
def api() -> Iterator[ReplayApi]:
    """A server without recordings."""
    with replay() as server:
        yield server


@pytest.fixture
def cluster(api: ReplayApi, site: Site, tmp_path: Path) -> Cluster:
    """A client for it that is not patient."""
    found = connect(site, {"KUBECONFIG": str(api.kubeconfig(tmp_path))})
    found.transport.patience = QUICK
    return found


def status(code: int, reason: str, message: str, **details: object) -> Answer:
    """A Status object as the API server sends it."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason}
    return Answer(code, {**body, "details": details, "code": code})


def test_get_sends_the_token_and_the_query(api: ReplayApi, cluster: Cluster) -> None:
    api.add("GET", POD, Answer(body={"kind": "Pod"}))
    assert cluster.get(POD, resourceVersion="0") == {"kind": "Pod"}
    (asked,) = api.asked
    assert asked.query == {"resourceVersion": "0"}
    assert asked.headers["authorization"] == "Bearer a-token"


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
        with pytest.raises(ClusterError, match="the API server fails"):
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


# Errors


@pytest.mark.parametrize(
    ("code", "reason", "message", "says"),
    [
        (401, "Unauthorized", "Unauthorized", ("does not know who you are", "talosctl kubeconfig")),
        (
            403,
            "Forbidden",
            'User "u" cannot patch',
            ("may not", "kubectl --context replay auth can-i patch deployments"),
        ),
        (403, "Forbidden", 'violates PodSecurity "baseline:latest"', ("Pod Security", "enforce=privileged")),
        (403, "Forbidden", "exceeded quota: gpus", ("quota", "describe resourcequota -n ai")),
        (404, "NotFound", 'namespaces "ai" not found', ("deployments/x is not there", "leviathan apply")),
        (409, "AlreadyExists", "exists", ("there already", "get deployments/x -n ai")),
        (409, "Conflict", "the object has been modified", ("same moment", "run it again")),
        (422, "Invalid", "spec.replicas: Invalid value", ("invalid", "leviathan site")),
        (403, "Forbidden", 'RuntimeClass "nvidia" not found', ("RuntimeClass is not there", "cluster.runtime_class")),
        (422, "Invalid", "spec.selector: field is immutable", ("invalid", "delete deployments x -n ai")),
        (422, "Invalid", "provided port is already allocated", ("invalid", "engine.node_port")),
        (429, "TooManyRequests", "slow down", ("too much to do", "wait")),
        (500, "InternalError", "etcd", ("fails", "/readyz?verbose")),
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
    asked = Asked("PATCH", DEPLOYMENT, "", "http://x")
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
    asked = Asked("GET", path, "", "")
    assert (asked.resource, asked.object, asked.namespace) == expected


def test_an_error_leaves_a_phase_with_its_exit_status() -> None:
    error = ClusterError("no")
    assert error.exit_code is ExitCode.FAILED
    with pytest.raises(ClusterError), exits(ExitCode.APPLY):
        raise error
    assert error.report()["exit_code"] == 6


# Reaching the server


def test_nobody_there(site: Site, tmp_path: Path) -> None:
    with replay() as server:
        kubeconfig = server.kubeconfig(tmp_path)
    cluster = connect(site, {"KUBECONFIG": str(kubeconfig)})
    cluster.transport.patience = QUICK
    with pytest.raises(ClusterError, match="Connection refused") as caught:
        cluster.version()
    assert (caught.value.status, caught.value.reason) == (0, "Unreachable")
    assert "object at 0x" not in str(caught.value)


def test_tls(site: Site, tmp_path: Path, ca_file: Path, server_tls: ssl.SSLContext) -> None:
    with replay(tls=server_tls) as server:
        server.add("GET", "/version", Answer(body={"gitVersion": "v1.34.1"}))
        good = connect(site, {"KUBECONFIG": str(server.kubeconfig(tmp_path, ca_file=ca_file))})
        assert good.version()["gitVersion"] == "v1.34.1"
        bad = connect(site, {"KUBECONFIG": str(server.kubeconfig(tmp_path))})
        with pytest.raises(ClusterError, match="certificate verify failed") as caught:
            bad.version()
    assert caught.value.reason == "TLS"
    assert "talosctl kubeconfig" in caught.value.remedy


def test_plain_http_at_a_tls_address(site: Site, tmp_path: Path, api: ReplayApi) -> None:
    path = api.kubeconfig(tmp_path)
    path.write_text(path.read_text().replace("http://", "https://"))
    with pytest.raises(ClusterError) as caught:
        connect(site, {"KUBECONFIG": str(path)}).version()
    assert caught.value.reason == "TLS"


# The kubeconfig


def in_context(site: Site, context: str) -> Site:
    """The site with another context."""
    return changed(site, cluster=changed(site.cluster, context=context))


def test_the_context_is_the_sites_else_the_current_one(site: Site, tmp_path: Path, api: ReplayApi) -> None:
    environ = {"KUBECONFIG": str(api.kubeconfig(tmp_path))}
    assert connect(site, environ).context == "replay"
    assert connect(in_context(site, "other"), environ).context == "other"


def test_home_is_where_the_kubeconfig_is_without_the_variable(site: Site, tmp_path: Path, api: ReplayApi) -> None:
    (tmp_path / ".kube").mkdir()
    api.kubeconfig(tmp_path).rename(tmp_path / ".kube" / "config")
    assert connect(site, {"HOME": str(tmp_path)}).server == api.address


def test_several_files_are_one_kubeconfig(site: Site, tmp_path: Path, api: ReplayApi) -> None:
    second = tmp_path / "second"
    second.write_text(api.kubeconfig(tmp_path).read_text().replace("replay", "next"))
    environ = {"KUBECONFIG": os.pathsep.join([str(tmp_path / "absent"), str(tmp_path / "kubeconfig"), str(second)])}
    assert connect(site, environ).context == "replay"
    assert connect(in_context(site, "next"), environ).context == "next"


def test_an_unknown_context_names_the_known_ones(site: Site, tmp_path: Path, api: ReplayApi) -> None:
    environ = {"KUBECONFIG": str(api.kubeconfig(tmp_path))}
    with pytest.raises(ClusterError, match=r"no context repaly .*it has: replay, other \(nearest: replay\)") as caught:
        connect(in_context(site, "repaly"), environ)
    assert caught.value.reason == "UnknownContext"


def test_no_kubeconfig_names_the_places(site: Site, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="no kubeconfig") as caught:
        connect(site, {"KUBECONFIG": str(tmp_path / "absent")})
    assert caught.value.reason == "NoKubeconfig"
    assert caught.value.where == str(tmp_path / "absent")


@pytest.mark.parametrize(
    "text",
    ["", "- a list", "a: [", "current-context: x\ncontexts: [{name: x, context: {cluster: gone, user: gone}}]\n"],
)
def test_a_broken_kubeconfig_is_one_line(site: Site, tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(ClusterError, match="cannot be used") as caught:
        connect(site, {"KUBECONFIG": str(path)})
    assert caught.value.reason == "BadKubeconfig"
    assert "\n" not in caught.value.line()
