"""Heads of requests that are not let in: two lengths, two keys, pages of other sites, names of other servers."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from bad_clients import chat, closed, connect
from front_process import FrontProcess
from hypothesis import given, settings
from hypothesis import strategies as st

from leviathan_engine.front.admission import Admission, local_name
from leviathan_engine.front.api_error import ApiError

CHAT = "/v1/chat/completions"
BODY = json.dumps(chat(1, stream=False)).encode()


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    process = FrontProcess(tmp_path_factory.mktemp("front"), LEVIATHAN_API_KEY="secret")
    process.serve()
    yield process
    process.close()


def exchange(front: FrontProcess, head: str, body: bytes) -> tuple[int, str, bool]:
    """Sends a request as it stands; the status, the error's code, and whether the connection is closed."""
    client = connect(front.url)
    client.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
    answer = http.client.HTTPResponse(client)
    answer.begin()
    code = json.loads(answer.read()).get("error", {}).get("code")
    return answer.status, code, closed(client, 0.5)


def test_two_lengths_are_refused_and_what_follows_is_not_a_request(front: FrontProcess) -> None:
    smuggled = b"0\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = f"POST {CHAT} HTTP/1.1\nHost: localhost\nContent-Length: {len(smuggled)}\nTransfer-Encoding: chunked"
    client = connect(front.url)
    client.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + smuggled)
    answer = b""
    while piece := client.recv(1 << 16):
        answer += piece
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1, "the second request was served"
    assert b"got both" in answer
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    control = f"POST {CHAT} HTTP/1.1\nHost: localhost\nTransfer-Encoding: chunked"
    assert exchange(front, control, chunked) == (200, None, False)


def test_two_authorization_headers_are_refused(keyed: FrontProcess) -> None:
    head = f"POST {CHAT} HTTP/1.1\nHost: localhost\nContent-Length: {len(BODY)}\nAuthorization: bearer secret"
    assert exchange(keyed, head, BODY)[0] == 200
    assert exchange(keyed, head + "\nAuthorization: Bearer wrong", BODY)[:2] == (400, "invalid_http")
    assert exchange(keyed, head.replace("bearer secret", "Bearer wrong"), BODY)[:2] == (401, "invalid_api_key")


def test_nothing_leads_to_another_host(keyed: FrontProcess) -> None:
    for path in ("/health/", CHAT + "/"):
        answer = httpx.post(keyed.url + path, headers={"host": "evil.example"}, content=BODY)
        assert (answer.status_code, "location" in answer.headers) in {(404, False), (405, False)}


POSTS = [
    ({"content-type": "text/plain", "origin": "http://evil.example"}, 403),
    ({"origin": "http://evil.example"}, 403),
    ({"origin": "null", "content-type": "application/x-www-form-urlencoded"}, 403),
    ({"content-type": "text/plain; application/json", "origin": "http://evil.example"}, 403),
    ({"content-type": "application/json", "origin": "http://evil.example"}, 200),  # it has asked, and CORS refused it
    ({"content-type": "Application/JSON; charset=utf-8", "origin": "http://evil.example"}, 200),
    ({"content-type": "text/plain", "origin": "{url}"}, 200),
    ({"content-type": "application/x-www-form-urlencoded"}, 200),  # curl -d
    ({}, 200),
]


@pytest.mark.parametrize(("headers", "status"), POSTS)
def test_a_page_of_another_site_may_not_post(front: FrontProcess, headers: dict[str, str], status: int) -> None:
    headers = {name: value.format(url=front.url) for name, value in headers.items()}
    assert front.post(CHAT, BODY, headers=headers).status_code == status


HOSTS = [
    ("127.0.0.1:30000", True),
    ("[::1]:30000", True),
    ("192.168.3.20", True),
    ("localhost", True),
    ("leviathan-inference", True),
    ("LEVIATHAN-inference.ai-workloads.svc:30000", True),
    ("leviathan-inference.ai-workloads.svc.cluster.local.", True),
    ("gpu.lan", True),
    ("llm.example.org", True),
    ("a.b.example.net", True),
    ("example.net", False),
    ("evil.example", False),
    ("evil.example:30000", False),
    ("localhost.evil.example", False),
    ("127.0.0.1.evil.example", False),
    ("x@evil.example", False),
    ("1.2.3", False),
    ("[::1", False),
    ("a.b:port", False),
]


@pytest.mark.parametrize(("host", "expected"), HOSTS)
def test_which_names_are_this_servers(host: str, expected: bool) -> None:
    assert local_name(host, ("llm.example.org", ".example.net")) == expected
    assert local_name(host, ("*",)) == (expected or not host.endswith(("[::1", ":port")))


def test_a_foreign_name_is_refused_where_no_key_is_needed(front: FrontProcess, keyed: FrontProcess) -> None:
    """What DNS rebinding looks like; with a key it gets nowhere anyway, and any name will do."""
    foreign = {"host": "evil.example", "authorization": "Bearer secret"}
    for path in ("/v1/models", "/metrics"):
        assert httpx.get(front.url + path, headers=foreign).status_code == 421
        assert httpx.get(keyed.url + path, headers=foreign).status_code == 200
    assert httpx.get(front.url + "/health", headers=foreign).status_code == 200


def test_further_names_come_from_the_environment(tmp_path: Path) -> None:
    front = FrontProcess(tmp_path, LEVIATHAN_HOSTS="llm.example.org, .example.net")
    try:
        front.serve()
        codes = [
            httpx.get(front.url + "/v1/models", headers={"host": host}).status_code
            for host in ("llm.example.org", "x.example.net", "evil.example")
        ]
    finally:
        front.close()
    assert codes == [200, 200, 421]


@given(st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=40)), max_size=8), st.binary(max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_head_is_let_in_or_refused_with_a_4xx(headers: list[tuple[bytes, bytes]], host: bytes) -> None:
    admission = Admission(None, (), (), keys=False)  # type: ignore[arg-type]
    scope = {"type": "http", "method": "POST", "path": "/v1/x", "headers": [*headers, (b"host", host)]}
    status = 400
    try:
        admission.check(scope)
    except ApiError as err:
        status = err.status
    assert 400 <= status < 500


BODIES = [
    (b'{"a": ', "expecting value in line 1, column 7"),
    (b'{"a": NaN}', "NaN is not a JSON number"),
    (b'"\xff"', "it is not UTF-8 at byte 1"),
    (b"1" * 5000, "a number has too many digits"),
    (b"[" * 100_000, "nested too deeply"),
]


@pytest.mark.parametrize(("body", "says"), BODIES)
def test_a_wrong_body_is_told_without_pythons_words(front: FrontProcess, body: bytes, says: str) -> None:
    answer = front.post(CHAT, body)
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, f"the request body is not JSON: {says}")
