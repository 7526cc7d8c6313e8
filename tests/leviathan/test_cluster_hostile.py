"""The API server's client against answers that are endless, slow, packed, or not of an API server."""

import socket
import ssl
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from fakes.hostile_server import answer, chunks, drip, hostile
from fakes.replay_api import Answer, ReplayApi, replay

from leviathan.cluster import bounds
from leviathan.cluster.client import Cluster, ClusterError, RetryPolicy, connect
from leviathan.site.schema import Site

QUICK = RetryPolicy(first_s=0.3, again_s=0.6, request_s=1.0, connect_s=1.0, pause_s=0.01)
POD = "/api/v1/namespaces/ai/pods/x"
PODS = "/api/v1/namespaces/ai/pods"


def asking(site: Site, folder: Path, host: str) -> Cluster:
    """A client of the API server at HOST:PORT."""
    path = folder / "kubeconfig"
    path.write_text(
        f"clusters: [{{name: c, cluster: {{server: 'http://{host}'}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
        "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n"
    )
    cluster = connect(site, {"KUBECONFIG": str(path)})
    cluster.transport.patience = QUICK
    return cluster


@pytest.mark.parametrize("status", [200, 403, 500])
def test_an_endless_answer_ends(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    monkeypatch.setattr("leviathan.cluster.transport.MOST", 4 << 20)
    with hostile(chunks(status)) as host, pytest.raises(ClusterError, match="does not end within") as caught:
        asking(site, tmp_path, host).get(POD)
    assert caught.value.reason == "BadAnswer"
    assert f"GET {POD} on http://{host}" in caught.value.line()


def test_a_body_that_drips_ends(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds.whole, "__defaults__", (0.5, time.monotonic))
    behave = drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    with hostile(behave) as host, pytest.raises(ClusterError, match=r"does not end within 0\.5 s"):
        asking(site, tmp_path, host).get(POD)


def test_a_packed_answer_is_not_unpacked(site: Site, tmp_path: Path) -> None:
    def behave(handler: object) -> None:
        answer(handler, 200, b"x", Content_Encoding="gzip")  # type: ignore[arg-type]

    with hostile(behave) as host, pytest.raises(ClusterError, match="encoding 'gzip'"):
        asking(site, tmp_path, host).get(POD)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_takes_no_token_to_another_host(
    site: Site, tmp_path: Path, server_tls: ssl.SSLContext, ca_file: Path, status: int
) -> None:
    """The other host is not asked at all: its answer would be taken for the API server's. The error names it."""
    seen: list[str | None] = []
    path = tmp_path / "kubeconfig"

    def other(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers.get("Authorization"))
        answer(handler, 200, b"{}")

    with hostile(other) as elsewhere, replay(tls=server_tls) as api:
        api.kubeconfig(tmp_path, ca_file=ca_file, token="hunter2")
        api.add("GET", POD, Answer(status, {}, headers={"Location": [f"http://{elsewhere}/x"]}))
        cluster = connect(site, {"KUBECONFIG": str(path)})
        cluster.transport.patience = QUICK
        with pytest.raises(ClusterError, match=f"it redirects to 'http://{elsewhere}/x'") as caught:
            cluster.get(POD)
    assert "hunter2" not in caught.value.line()
    assert "\n" not in caught.value.line()
    assert [request.headers["authorization"] for request in api.asked] == ["Bearer hunter2"]
    assert seen == []


def test_pages_end(api: ReplayApi, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leviathan.cluster.client.PAGES", 5)
    page = {"kind": "PodList", "apiVersion": "v1", "items": [], "metadata": {"continue": "again"}}
    api.add("GET", PODS, Answer(body=page))
    with pytest.raises(ClusterError, match="does not end after 5 pages"):
        cluster.list(PODS)
    assert len(api.asked) == 5


@pytest.mark.parametrize(
    "body",
    [
        '{"stolen": 1}',
        "[" * 50_000,
        '{"apiVersion": 1, "kind": "List"}',
        '{"apiVersion": "v1", "kind": "L", "items": "x"}',
        '{"apiVersion": "v1", "kind": "L", "items": [7]}',
        '{"apiVersion": "v1", "kind": "L", "items": [{"metadata": []}]}',
    ],
)
def test_what_is_no_list_is_one_line(api: ReplayApi, cluster: Cluster, body: str) -> None:
    api.add("GET", PODS, Answer(text=body))
    with pytest.raises(ClusterError) as caught:
        cluster.list(PODS)
    assert len(caught.value.line()) < 800


@pytest.mark.parametrize(
    "line", ["no json", "[" * 50_000, "{}", "7", '{"type": "ADDED", "object": 7}', '{"type": "ERROR", "object": 7}']
)
def test_what_is_no_event_is_one_line(api: ReplayApi, cluster: Cluster, line: str) -> None:
    api.add("GET", PODS, Answer(lines=(line,)))
    with pytest.raises(ClusterError):
        list(cluster.watch(PODS, timeout_s=2))


@pytest.mark.parametrize(
    "details", [7, "text", {"causes": 7}, {"causes": [7, None]}, {"causes": [{"reason": ["x"]}]}, None]
)
def test_any_details_of_a_refusal_are_one_line(api: ReplayApi, cluster: Cluster, details: object) -> None:
    headers = {"Retry-After": ["²"]}
    api.add("GET", POD, Answer(403, {"kind": "Status", "message": "no", "details": details}, headers=headers))
    with pytest.raises(ClusterError, match="may not"):
        cluster.get(POD)


def test_a_line_without_an_end_ends(api: ReplayApi, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leviathan.cluster.lines.MOST_LINE", 1 << 20)
    api.add("GET", f"{POD}/log", Answer(text="a" * (3 << 20)))
    with pytest.raises(ClusterError, match="a line has more than 1 MiB"):
        list(cluster.log("ai", "x"))


def test_a_name_that_does_not_resolve_fails_at_once(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def nothing(host: str, *_: object, **__: object) -> object:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    cluster = asking(site, tmp_path, "api.example:6443")
    cluster.transport.patience = RetryPolicy(first_s=30)
    with pytest.raises(ClusterError, match="cannot resolve the API server's host name") as caught:
        cluster.get(POD)
    assert (caught.value.reason, asked) == ("UnknownHost", ["api.example"])
