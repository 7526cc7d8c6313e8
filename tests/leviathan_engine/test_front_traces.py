"""OpenTelemetry: the spans of a request as a collector on loopback gets them, and a collector that is away or slow."""

import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from front_process import FrontProcess

from leviathan_engine.errors import UsageError
from leviathan_engine.front.access.collector import Collector, collector
from leviathan_engine.front.access.span_exporter import HELD, Exporter

CHAT = "/v1/chat/completions"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
BODY = {"model": "letters", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}


class Receiver:
    """An OTLP receiver: the requests that came, with their headers; `codes` are its next answers, then 200."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], Any]] = []
        self.codes: list[int] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(outer.codes.pop(0) if outer.codes else 200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def spans(self) -> list[dict[str, Any]]:
        """All spans that came."""
        return [
            span
            for _, _, body in self.got
            for resource in body["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]


@pytest.fixture(scope="module")
def one_receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def receiver(one_receiver: Receiver) -> Receiver:
    """The receiver, with nothing left of another test."""
    one_receiver.got.clear()
    return one_receiver


@pytest.fixture(scope="module")
def traced(one_receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    receiver = one_receiver
    process = FrontProcess(
        tmp_path_factory.mktemp("traced"),
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url + "/",
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20abc,x-tenant=one",
        OTEL_SERVICE_NAME="deepseek",
        LEVIATHAN_ACCESS_LOG="json",
    )
    process.serve()
    yield process
    process.close()


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}


def test_the_spans_of_a_request(receiver: Receiver, traced: FrontProcess) -> None:
    """They carry the client's trace and the request's id, lie in one another, and come with the configured headers."""
    traced.letters.delay = 0.005
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "x-request-id": "abc"}
    assert traced.post(CHAT, BODY, headers=headers).status_code == 200
    traced.letters.delay = 0.0
    traced.wait(lambda: len(receiver.spans()) == 4)
    path, sent, body = receiver.got[0]
    assert (path, sent["content-type"]) == ("/v1/traces", "application/json")
    assert (sent["authorization"], sent["x-tenant"]) == ("Bearer abc", "one")
    assert attributes(body["resourceSpans"][0]["resource"]) == {"service.name": "deepseek"}
    server, *inner = receiver.spans()
    assert [span["name"] for span in (server, *inner)] == [f"POST {CHAT}", "queue", "prompt", "decode"]
    assert {span["traceId"] for span in receiver.spans()} == {TRACE}
    assert server["parentSpanId"] == PARENT
    assert {span["parentSpanId"] for span in inner} == {server["spanId"]}
    assert len({span["spanId"] for span in receiver.spans()}) == 4
    found = attributes(server)
    assert (found["leviathan.request_id"], found["http.response.status_code"]) == ("abc", "200")
    assert (found["gen_ai.usage.output_tokens"], found["leviathan.finish_reason"]) == ("26", "stop")
    times = [int(span[end]) for span in inner for end in ("startTimeUnixNano", "endTimeUnixNano")]
    assert times == sorted(times)
    assert int(server["startTimeUnixNano"]) == times[0]
    assert times[-1] <= int(server["endTimeUnixNano"])
    assert times[5] - times[4] > 25 * 5_000_000
    assert abs(times[0] / 1e9 - time.time()) < 60


def test_what_is_traced(receiver: Receiver, traced: FrontProcess) -> None:
    """Not probes, and not what the client does not record; a refusal is, with a trace of its own that the log has."""
    traced.post(CHAT, BODY, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    traced.post("/health", {})
    refused = traced.post(CHAT, {"nonsense": 1}, headers={"traceparent": f"00-{'0' * 32}-{PARENT}-01"})
    assert refused.status_code == 400
    traced.wait(receiver.spans)
    (span,) = receiver.spans()
    assert attributes(span)["http.response.status_code"] == "400"
    assert "parentSpanId" not in span
    assert int(span["traceId"], 16) > 0
    traced.wait(lambda: f'"trace_id":"{span["traceId"]}"' in traced.log())


def test_a_collector_that_is_away_costs_no_answer(tmp_path: Any) -> None:
    """Nothing listens at the address; answers come, and one line says what is lost."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    process = FrontProcess(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}")
    try:
        process.serve()
        for _ in range(5):
            assert process.post(CHAT, BODY).status_code == 200
        process.wait(lambda: "spans were not sent to" in process.log())
        assert process.log().count("leviathan: traces: ") == 1
    finally:
        process.close()


def test_a_batch_is_sent_again(receiver: Receiver) -> None:
    notes: list[str] = []
    receiver.codes = [503]
    exporter = Exporter(Collector(receiver.url + "/v1/traces"), notes.append, every=0.0)
    exporter.add([{"name": "x"}])
    exporter.close()
    assert (receiver.spans(), notes) == ([{"name": "x"}] * 2, [])


def test_more_than_can_be_held_is_dropped_and_said(receiver: Receiver) -> None:
    """A collector that takes a connection and says nothing: `add` returns at once all the same."""
    notes: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        exporter = Exporter(Collector(f"http://127.0.0.1:{silent.getsockname()[1]}"), notes.append, every=0.0)
        began = time.monotonic()
        for _ in range(HELD + 600):
            exporter.add([{"name": "x"}])
        assert time.monotonic() - began < 2
        assert exporter._lost > 0


def test_a_stop_sends_what_waits(receiver: Receiver, traced: FrontProcess) -> None:
    """The last one with this front."""
    assert traced.post(CHAT, BODY).status_code == 200
    assert traced.stop() == 0
    assert len(receiver.spans()) == 4


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://"}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/json"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_EXPORTER_OTLP_HEADERS": "x"}, "OTLP_HEADERS"),
    ],
)
def test_a_wrong_setting_is_refused(environ: dict[str, str], name: str) -> None:
    with pytest.raises(UsageError, match=name):
        collector(environ)


def test_settings() -> None:
    assert collector({}) is None
    assert collector({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}) is None
    whole = collector({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c/x", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://d"})
    assert whole == Collector("https://c/x")
