"""Access to a real front process: CORS, several keys, request ids and the access log."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from front_process import FrontProcess

from leviathan_engine.errors import UsageError
from leviathan_engine.front.access.access_log import HELD, LINES_A_SECOND, AccessLog, Style, line
from leviathan_engine.front.access.settings import access

CHAT = "/v1/chat/completions"
PAGE = "https://chat.example.org"
BODY: dict[str, Any] = {"model": "letters", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    folder = tmp_path_factory.mktemp("front")
    (folder / "keys").write_text("alice sk-a\nlimited sk-l requests=1\n")
    process = FrontProcess(
        folder,
        LEVIATHAN_API_KEY_FILE=str(folder / "keys"),
        LEVIATHAN_CORS_ORIGINS=f"{PAGE} http://localhost:3000",
        LEVIATHAN_ACCESS_LOG="json",
    )
    process.serve()
    yield process
    process.close()


def entries(front: FrontProcess, request_id: str) -> list[dict[str, Any]]:
    """The access log's lines of one request."""
    found = [json.loads(text) for text in front.log().splitlines() if text.startswith("{")]
    return [entry for entry in found if entry["request_id"] == request_id]


def logged(front: FrontProcess, request_id: str) -> dict[str, Any]:
    """The one line of a request, once it is written."""
    front.wait(lambda: entries(front, request_id))
    (entry,) = entries(front, request_id)
    return entry


def test_a_preflight_needs_no_key(front: FrontProcess) -> None:
    asked = {
        "origin": PAGE,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, content-type, x-stainless-os",
    }
    answer = httpx.options(front.url + CHAT, headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "x-stainless-os" in answer.headers["access-control-allow-headers"]
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert httpx.options(front.url + CHAT, headers=asked | {"origin": "https://evil.example"}).status_code == 400


@pytest.mark.parametrize(
    ("headers", "changes", "status"),
    [
        ({"authorization": "Bearer sk-a"}, {}, 200),
        ({"authorization": "Bearer sk-a"}, {"stream": True}, 200),
        ({"authorization": "Bearer sk-a"}, {"messages": []}, 400),
        ({}, {}, 401),
        ({"x-api-key": "sk-a"}, {"model": "other"}, 404),
    ],
)
def test_every_answer_can_be_read_by_an_allowed_page(
    front: FrontProcess, headers: dict[str, str], changes: dict[str, Any], status: int
) -> None:
    answer = front.post(CHAT, BODY | changes, headers=headers | {"origin": PAGE})
    assert answer.status_code == status
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "x-request-id" in answer.headers["access-control-expose-headers"]
    other = front.post(CHAT, BODY | changes, headers=headers | {"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_without_the_setting_no_page_may_read(tmp_path: Path) -> None:
    front = FrontProcess(tmp_path)
    try:
        answer = httpx.get(front.url + "/v1/models", headers={"origin": PAGE})
        preflight = httpx.options(front.url + CHAT, headers={"origin": PAGE, "access-control-request-method": "POST"})
    finally:
        front.close()
    assert not [name for name in (*answer.headers, *preflight.headers) if name.startswith("access-control")]
    assert preflight.status_code == 405


def test_a_key_has_its_own_limit(front: FrontProcess) -> None:
    codes = [front.post(CHAT, BODY, headers={"authorization": "bearer sk-l"}).status_code for _ in range(2)]
    assert codes == [200, 429]
    answer = front.post(CHAT, BODY, headers={"x-api-key": "sk-l"})
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert 0 < int(answer.headers["retry-after"]) <= 60
    assert front.post(CHAT, BODY, headers={"x-api-key": "sk-a"}).status_code == 200


def test_new_keys_are_taken_over_while_it_runs(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("old")
    front = FrontProcess(tmp_path, LEVIATHAN_API_KEY_FILE=str(file))

    def codes() -> list[int]:
        keys = ("old", "new")
        return [httpx.get(front.url + "/v1/models", headers={"x-api-key": key}).status_code for key in keys]

    try:
        assert codes() == [200, 401]
        file.write_text("a new nonsense")
        front.wait(lambda: "cannot be used, so the previous content stays in use" in front.log())
        assert codes() == [200, 401]
        file.write_text("new")
        front.wait(lambda: codes() == [401, 200])
    finally:
        front.close()


def test_a_request_id_comes_back_and_is_made_where_there_is_none(front: FrontProcess) -> None:
    client = openai.OpenAI(base_url=front.url + "/v1", api_key="sk-a", max_retries=0)
    made = client.chat.completions.create(**BODY)
    assert made._request_id is not None
    assert logged(front, made._request_id)["key"] == "alice"
    given = client.chat.completions.create(**BODY, extra_headers={"x-request-id": "trace-1/2"})
    assert given._request_id == "trace-1/2"
    for odd in ("a b", "x" * 200, 'a"b'):
        answer = front.post(CHAT, BODY, headers={"x-request-id": odd})
        assert answer.headers["x-request-id"].startswith("req_")


def test_the_access_log_says_what_a_request_cost(front: FrontProcess) -> None:
    headers = {"x-api-key": "sk-a", "x-request-id": "cost", "traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
    front.post(CHAT, BODY | {"max_tokens": 5, "stream": True}, headers=headers)
    entry = logged(front, "cost")
    want = {
        "client": "127.0.0.1",
        "trace_id": "ab" * 16,
        "key": "alice",
        "method": "POST",
        "path": CHAT,
        "status": 200,
        "stream": True,
        "prompt_tokens": 5,
        "completion_tokens": 5,
        "finish_reason": "length",
    }
    assert {name: entry[name] for name in want} == want
    assert 0 <= entry["queue_seconds"] <= entry["seconds"] < 60
    assert 0 < entry["first_token_seconds"] <= entry["seconds"]


def test_the_access_log_has_no_secret_and_no_control_character(front: FrontProcess) -> None:
    port = int(front.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = ("GET /v1/models%0aforged%1b[31m?key=sk-q HTTP/1.1", "host: x", "x-request-id: odd", "x-api-key: sk-a")
        connection.sendall("".join(f"{one}\r\n" for one in (*head, "")).encode())
        assert b"404" in connection.recv(4096)
    assert logged(front, "odd")["path"] == "/v1/models%0aforged%1b[31m"
    front.post(CHAT, BODY, headers={"x-api-key": "sk-wrong", "x-request-id": "wrong"})
    assert logged(front, "wrong")["status"] == 401
    assert "sk-" not in front.log()
    assert '"/health"' not in front.log()


def test_a_line_of_text() -> None:
    entry = {"time": "t", "client": "::1", "method": "GET", "path": "/a b", "status": 200, "stream": False, "key": "k"}
    assert line(entry, Style.TEXT) == 't ::1 GET "/a b" 200 stream=false key=k\n'
    assert line({"time": "t", "path": "\x1b\n\xe9"}, Style.TEXT) == 't - - "\\u001b\\n\\u00e9" -\n'


def test_a_log_that_nobody_reads_holds_up_nothing() -> None:
    """The writer blocks; requests are counted as dropped, and the next line that is written says how many."""
    blocked, written = threading.Event(), list[str]()
    now = [0.0]

    def write(text: str) -> None:
        blocked.wait(30)
        written.append(text)

    log = AccessLog(Style.JSON, write, lambda: now[0])
    begin = time.monotonic()
    for _ in range(HELD + 500):
        now[0] += 1
        log.add({"request_id": "x"})
    assert time.monotonic() - begin < 5
    blocked.set()
    deadline = time.monotonic() + 30
    while "".join(written).count("\n") < HELD and time.monotonic() < deadline:
        time.sleep(0.01)
    now[0] += 1
    log.add({"request_id": "last"})
    log.close()
    dropped = [json.loads(text).get("dropped_lines", 0) for text in "".join(written).splitlines()]
    assert sum(dropped) + len(dropped) == HELD + 501
    assert len(written) < len(dropped) / 16, "lines that come together are written together"


def test_the_log_has_a_bounded_rate() -> None:
    now, written = [0.0], list[str]()
    log = AccessLog(Style.TEXT, written.append, lambda: now[0])
    for _ in range(3 * LINES_A_SECOND):
        log.add({"request_id": "x"})
    now[0] = 1.0
    log.add({"request_id": "x"})
    log.close()
    assert "".join(written).count("\n") == LINES_A_SECOND + 1
    assert written[-1].endswith(f"dropped_lines={2 * LINES_A_SECOND}\n")


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"LEVIATHAN_CORS_ORIGINS": "https://a.example/path"}, "expected origins such as"),
        ({"LEVIATHAN_CORS_ORIGINS": "a.example"}, "got 'a.example'"),
        ({"LEVIATHAN_TLS_CERT_FILE": "/x"}, "LEVIATHAN_TLS_KEY_FILE is not set"),
        ({"LEVIATHAN_TLS_CERT_FILE": "/x", "LEVIATHAN_TLS_KEY_FILE": "/y"}, "/x and /y: expected a certificate"),
        ({"LEVIATHAN_ACCESS_LOG": "loud"}, "expected one of text, json, off, got 'loud'"),
        ({"LEVIATHAN_API_KEY_FILE": "/nowhere"}, "cannot read /nowhere"),
    ],
)
def test_wrong_settings_are_refused_at_the_start(environ: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        access(environ)
    assert says in caught.value.line()


def test_right_settings() -> None:
    """The control."""
    found = access({"LEVIATHAN_CORS_ORIGINS": "*, https://A.example:8443", "LEVIATHAN_ACCESS_LOG": "off"})
    assert (found.origins, found.log, found.tls) == (("*", "https://a.example:8443"), Style.OFF, None)


def test_anthropics_header_is_a_key(front: FrontProcess) -> None:
    """Its client sends x-api-key."""
    client = anthropic.Anthropic(base_url=front.url, api_key="sk-a", max_retries=0)
    assert [model.id for model in client.models.list()] == ["letters"]
