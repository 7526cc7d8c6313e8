"""`leviathan status`: one look, for people and programs, with the engine's real front end where it has to answer."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.replay_api import Answer, ReplayApi
from rollout_support import LOADING, READY, Scene, closed_port, cluster_of, healthy, scene
from smoke_support import FrontProcess

from leviathan.cli import main as program
from leviathan.cluster.objects import name_of
from leviathan.rollout.deployment_status import RATE, Status, parse_metrics, run
from leviathan.rollout.diagnose.diagnosis import diagnose
from leviathan.rollout.diagnose.finding import Commands
from leviathan.rollout.observe.health import direct, fetch
from leviathan.rollout.observe.reader import collections
from leviathan.rollout.observe.snapshot import Health


@pytest.fixture
def server() -> Iterator[ReplayApi]:
    replay = ReplayApi()
    yield replay
    replay.close()


@pytest.fixture
def front(tmp_path: Path) -> Iterator[FrontProcess]:
    process = FrontProcess(tmp_path)
    yield process
    process.close()


def looked(server: ReplayApi, recorded: Scene, folder: Path) -> Status:
    recorded.serve(server)
    return run(recorded.site, cluster_of(server, folder))


def test_healthy_with_the_real_front(server: ReplayApi, front: FrontProcess, tmp_path: Path) -> None:
    """Health and tokens/s are those of the real front end."""
    front.letters.delay = 0.01
    front.serve()
    body = json.dumps({"model": "letters", "prompt": "a", "temperature": 0, "max_tokens": 10}).encode()
    _post(f"{front.url}/v1/completions", body)
    recorded = scene("ready")
    recorded.at(front.url)
    status = looked(server, recorded, tmp_path)
    assert status.ok
    text = status.text()
    assert re.search(r"^status +healthy$", text, re.M)
    assert re.search(r"^health +HTTP 200, ok$", text, re.M)
    assert re.search(r"^tokens/s +[0-9.]+, decoding the last answer$", text, re.M)
    assert re.search(r"^tokens generated +10$", text, re.M)
    data = status.data()
    assert data["tokens_per_second"] > 1
    assert data["health"]["status"] == "ok"
    assert json.loads(json.dumps(data)) == data


def test_loading_with_the_real_front(server: ReplayApi, front: FrontProcess, tmp_path: Path) -> None:
    recorded = scene("loading")
    recorded.at(front.url)
    status = looked(server, recorded, tmp_path)
    assert not status.ok
    assert direct(recorded.site).ours
    assert re.search(r"^health +HTTP 503, loading$", status.text(), re.M)
    assert (status.word, status.data()["stage"]) == ("loading", "loading")


def test_through_the_api_where_the_address_is_not_reached(server: ReplayApi, tmp_path: Path) -> None:
    recorded = scene("ready")
    recorded.at(closed_port())
    pod = f"/api/v1/namespaces/ai-workloads/pods/{name_of(recorded.pod)}:30000/proxy"
    server.add("GET", f"{pod}/health", Answer(body=READY))
    server.add("GET", f"{pod}/metrics", Answer(text=f"{RATE} 14.25\nleviathan_running 1\n"))
    status = looked(server, recorded, tmp_path)
    assert status.ok
    assert "health" in status.text()
    assert "not reachable through the NodePort: Connection refused" in status.text()
    assert "HTTP 200, ok, through the API server" in status.text()
    assert "14.2, decoding the last answer" in status.text()


def test_text_of_a_failure(golden: Callable[[str, str], None]) -> None:
    recorded = scene("crash")
    health = Health(None, {}, "the NodePort", "Connection refused")
    snapshot = recorded.snapshot(health=health)
    status = Status(snapshot, diagnose(snapshot, Commands(recorded.site)), {}, "http://192.168.3.2:30000")
    text = re.sub(r"(cortex-leviathan)-[0-9a-f]+-[a-z0-9]{5}\b", r"\1-POD", status.text())
    text = re.sub(r"(cortex-leviathan)-[0-9a-f]{8,10}\b", r"\1-SET", text)
    text = re.sub(r"\([0-9a-f-]{36}\)", "(UID)", text)
    golden("rollout-status-crash.txt", re.sub(r"\d+ s ago", "N s ago", text) + "\n")


@pytest.mark.parametrize(
    ("name", "health", "ok", "word"),
    [
        ("ready", healthy(), True, "healthy"),
        ("ready", healthy(503, LOADING), False, "ready, /health is not 200"),
        ("ready", None, False, "ready, /health is not 200"),
        ("loading", healthy(), False, "loading"),
        ("image-not-found", None, False, "waiting for the image"),
        ("no-deployment", healthy(), False, "there is no Deployment"),
    ],
)
def test_word(name: str, health: Health | None, ok: bool, word: str) -> None:
    """An old pod that still answers does not make a new one healthy."""
    status = Status(scene(name).snapshot(health=health), (), {}, "")
    assert (status.ok, status.word) == (ok, word)


def test_what_may_not_be_read_is_left_out(server: ReplayApi, tmp_path: Path) -> None:
    recorded = scene("ready")
    recorded.at(closed_port())
    path, _ = collections(recorded.site)["nodes"]
    no = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "nodes is forbidden"}
    server.add("GET", path, Answer(403, body=no))
    pod = f"/api/v1/namespaces/ai-workloads/pods/{name_of(recorded.pod)}:30000/proxy/health"
    server.add("GET", pod, Answer(403, body=no))
    recorded.found.pop("nodes")
    for kind, (each, _) in collections(recorded.site).items():
        if kind != "nodes":
            answer = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": recorded.found[kind]}
            server.add("GET", each, Answer(body=answer))
    status = run(recorded.site, cluster_of(server, tmp_path))
    assert status.findings == ()
    assert status.snapshot.unreadable == {"nodes"}
    assert not status.ok


def test_metrics() -> None:
    text = '# HELP leviathan_running x\nleviathan_running 1\nleviathan_vram{gpu="0"} 5\nother 3\nleviathan_bad x\n'
    assert parse_metrics(text + f"{RATE} 13.5\n") == {"leviathan_running": 1.0, RATE: 13.5}


def test_an_endless_answer_is_not_read_to_its_end(server: ReplayApi) -> None:
    """Something else at the port may send without end."""
    server.add("GET", "/health", Answer(lines=("x" * 65_536,) * 64))
    status, body, _ = fetch(f"{server.address}/health")
    assert status == 200
    assert len(body) < 4_000_000


def test_exit_status_and_json(
    server: ReplayApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """1 when it is not healthy, the reason as the last line of stderr, the data on stdout; 0 when it is."""
    recorded = scene("ready")
    listener = _node_port(READY)
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path)))
    monkeypatch.chdir(tmp_path)
    recorded.at(f"http://127.0.0.1:{listener.port}")
    recorded.serve(server)
    argv = ["status", "--json", "--set", "cluster.address=127.0.0.1", "--set", f"engine.node_port={listener.port}"]
    try:
        assert program.run(argv) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["status"] == "healthy"
        assert err == ""
        listener.body = LOADING
        assert program.run([*argv, "--result-file", "status.json"]) == 1
        out, err = capsys.readouterr()
        assert json.loads(out)["ok"] is False
        assert json.loads((tmp_path / "status.json").read_text()) == json.loads(out)
        assert err == "not healthy: ready, /health is not 200\n"
    finally:
        listener.close()


class Listener:
    """A /health on a port that a NodePort may have."""

    def __init__(self, body: dict[str, object], port: int) -> None:
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer  # noqa: PLC0415

        self.body = body
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                raw = json.dumps(owner.body).encode()
                self.send_response(200 if owner.body["status"] == "ok" else 503)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = port
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def _node_port(body: dict[str, object]) -> Listener:
    for port in range(31_000 + int(time.time()) % 500, 32_767):
        try:
            return Listener(body, port)
        except OSError:
            continue
    raise AssertionError("no port is free")


def _post(url: str, body: bytes) -> None:
    import httpx  # noqa: PLC0415

    answer = httpx.post(url, content=body, headers={"Content-Type": "application/json"}, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
