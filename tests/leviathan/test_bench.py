"""bench: the real front with an engine of known speed, wrong endpoints, the table, the picture, the comparison."""

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from fakes.replay_api import Answer, ReplayApi
from push_support import Talk
from smoke_support import MODEL, FrontProcess, smoke_site

from leviathan.bench.cells import Cell, document_of, quantile, table
from leviathan.bench.go import go
from leviathan.bench.measure import Sample
from leviathan.bench.svg import picture
from leviathan.bench.sweep import BenchError, Measured, Settings
from leviathan.cli.main import run as leviathan
from leviathan.cluster import port_forward
from leviathan.cluster.client import Cluster, ClusterError
from leviathan.errors import UsageError
from leviathan.smoke.tested_deployment import TestedDeployment
from leviathan.terminal.output import Console

SMALL = Settings((16, 64), (8,), (1, 3), 2)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    process = FrontProcess(tmp_path_factory.mktemp("front"))
    process.serve()
    yield process
    process.close()


def url(front: Any) -> str:
    return str(front.url)


def test_every_setting_is_measured(front: Any) -> None:
    talk = Talk()
    done = go(smoke_site(), {}, Console(talk), SMALL, url=url(front))
    assert done.ok
    assert [(each.prompt, each.answer, each.clients) for each in done.cells] == [
        *((16, 8, 1), (16, 8, 3), (64, 8, 1), (64, 8, 3)),
    ]
    assert [len(each.samples) for each in done.cells] == [2, 6, 2, 6]
    for cell in done.cells:
        values = cell.values()
        assert 0 < values["first_p50"] <= values["first_p99"] < 60
        assert values["gap_p50"] <= values["gap_p99"]
        assert all(each.tokens == 8 for each in cell.samples)
        sizes = [each.prompt for each in cell.samples]
        assert 0.6 * cell.prompt < sum(sizes) / len(sizes) < 3 * cell.prompt
    assert done.text().count("\n") >= 5


def test_the_command_writes_table_json_and_picture(
    front: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, svg = tmp_path / "bench.json", tmp_path / "bench.svg"
    line = ["bench", "--url", url(front), "--model", MODEL, "--prompt", "16", "--answer", "4", "--clients", "1,2"]
    assert leviathan([*line, "--repeat", "1", "--svg", str(svg), "--result-file", str(result)]) == 0
    assert "tokens/s in all" in capsys.readouterr().out
    document = json.loads(result.read_text())
    assert document["format"] == "leviathan-bench/1"
    assert len(document["cells"]) == 2
    root = ElementTree.fromstring(svg.read_text())
    assert len(root.findall(".//{http://www.w3.org/2000/svg}circle")) == 2
    assert leviathan([*line, "--repeat", "1", "--compare", str(result)]) == 0
    assert f"in brackets: against {MODEL} at {url(front)}" in capsys.readouterr().out


def test_another_endpoint_is_compared(front: Any) -> None:
    settings = Settings((16,), (4,), (1,), 1)
    done = go(smoke_site(), {}, Console(Talk()), settings, url=url(front), compare=url(front))
    assert done.earlier["cells"][0]["clients"] == 1
    assert " %)" in done.text()


def test_an_endpoint_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BenchError, match=r"does not answer a chat \(http://127.0.0.1:9\): no connection"):
        go(smoke_site(), {}, Console(Talk()), SMALL, url="http://127.0.0.1:9")
    capsys.readouterr()


def test_another_model_is_refused_by_name(front: Any) -> None:
    with pytest.raises(BenchError, match="404"):
        go(smoke_site(), {}, Console(Talk()), SMALL, url=url(front), model="other")


def test_a_service_without_an_address_is_reached_through_the_api_server(
    front: Any, api: ReplayApi, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The WebSocket's end is played by a connection to the front; everything else is real."""
    opened: list[str] = []

    def to_front(_cluster: Cluster, namespace: str, pod: str, port: int) -> Any:
        opened.append(f"{namespace}/{pod}:{port}")
        return lambda: socket.create_connection(("127.0.0.1", int(str(front.url).rpartition(":")[2])))

    monkeypatch.setattr(port_forward, "to_pod", to_front)
    monkeypatch.setattr(TestedDeployment, "connection", lambda _self: cluster)
    pod = {"metadata": {"name": "engine-1", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {}, "status": {}}
    body = {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": [pod]}
    api.add("GET", "/api/v1/namespaces/ai-workloads/pods", Answer(200, body))
    settings = Settings((16,), (8,), (1, 3), 1)
    done = go(smoke_site(service_type="ClusterIP"), {}, Console(Talk()), settings)
    assert done.ok
    assert opened == ["ai-workloads/engine-1:30000"]
    assert done.url.startswith("http://127.0.0.1:")


def test_a_way_that_cannot_be_opened_closes_the_connection() -> None:
    def refused() -> Any:
        raise ClusterError("no way")

    with port_forward.forwarded(refused) as url, pytest.raises(BenchError, match="does not answer a chat"):
        go(smoke_site(), {}, Console(Talk()), SMALL, url=url)


class Strict(http.server.BaseHTTPRequestHandler):
    """Answers as OpenAI's own API: a key that it does not know is refused. Its tokens have no text."""

    tokens = 5

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "ignore_eos" in body:
            self.answer(400, "application/json", b'{"error": {"message": "Unrecognized request argument: ignore_eos"}}')
            return
        counts = {"prompt_tokens": 20, "completion_tokens": self.tokens}
        chunks = [{"choices": [{"delta": {"content": ""}, "index": 0}]}, {"choices": [], "usage": counts}]
        text = "".join(f"data: {json.dumps(each)}\n\n" for each in chunks) + "data: [DONE]\n\n"
        self.answer(200, "text/event-stream", text.encode())

    def answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def strict() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Strict) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_an_endpoint_that_knows_no_ignore_eos_is_measured_without_it(strict: str) -> None:
    talk = Talk()
    done = go(smoke_site(), {}, Console(talk), Settings((16,), (5,), (1,), 1), url=strict)
    assert done.ok
    assert "the endpoint does not take ignore_eos, so answers may be shorter" in talk.getvalue()


def test_an_answer_of_tokens_without_text_counts(strict: str, monkeypatch: pytest.MonkeyPatch) -> None:
    [cell] = go(smoke_site(), {}, Console(Talk()), Settings((16,), (5,), (1,), 1), url=strict).cells
    assert [(each.tokens, each.gaps) for each in cell.samples] == [(5, ())]
    assert cell.values()["first_p50"] > 0
    monkeypatch.setattr(Strict, "tokens", 0)
    with pytest.raises(BenchError, match="an answer with neither text nor tokens"):
        go(smoke_site(), {}, Console(Talk()), SMALL, url=strict)


@pytest.mark.parametrize("numbers", ["0", "a", "1,,2", "", "-1"])
def test_wrong_numbers_are_named(numbers: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert leviathan(["bench", "--clients", numbers]) == 2
    assert "expected positive integers such as 128,1024" in capsys.readouterr().err


def cell(rate: float) -> Cell:
    return Cell(16, 4, 1, (Sample(0.5, (0.1, 0.3), 0.5 + 3 / rate, 20, 5, 4),), 1.0)


def test_the_numbers_by_hand() -> None:
    values = cell(10.0).values()
    assert values["first_p50"] == 0.5
    assert (values["gap_p50"], values["gap_p99"]) == (100.0, 300.0)
    assert values["stream_rate"] == pytest.approx(10.0)
    assert values["total_rate"] == 4.0
    assert values["prompt_rate"] == 30.0
    assert values["cached"] == 25.0
    assert [quantile([1, 2, 3, 4], share) for share in (0.25, 0.5, 0.99)] == [1, 2, 4]


def test_the_table_compares_cells_of_the_same_setting() -> None:
    earlier = {"cells": [cell(10.0).data()], "model": "m", "url": "u"}
    assert "12.5 (+25 %)" in table([cell(12.5).data()], earlier)
    other = {"cells": [cell(10.0).data() | {"clients": 9}]}
    assert "%)" not in table([cell(12.5).data()], other)


def test_failures_fail_and_the_bound_is_next_to_what_was_measured() -> None:
    broken = Cell(16, 4, 1, (), 1.0, ("500 text/plain", "500 text/plain"))
    done = Measured("u", "m", (cell(10.0), broken), bound=20.0, assumed="DeepSeek-V3 Q4_K_M")
    assert not done.ok
    assert "the plan's bound (DeepSeek-V3 Q4_K_M): 20.0 tokens/s; measured 10.0, 50 % of it" in done.text()
    assert done.text().splitlines()[-1] == "failed: 500 text/plain"
    assert "failed" in table([broken.data()])
    ElementTree.fromstring(picture(done.data()))


@pytest.mark.parametrize("text", ["", "[]", '{"format": "leviathan-bench/1"}', '{"format": "x", "cells": []}'])
def test_what_is_not_a_measurement(text: str) -> None:
    with pytest.raises(UsageError, match="not a measurement to compare with"):
        document_of(text, "FILE")
