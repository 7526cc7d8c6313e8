"""Requests as bytes: what RFC 9112 calls broken is refused and the connection closed, what it allows is answered."""

import gzip
import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bad_clients import chat, connect, request
from front_process import FrontProcess

CHAT = "/v1/chat/completions"
BODY = json.dumps(chat(1, stream=False)).encode()
HEAD = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\n".encode()
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    process = FrontProcess(tmp_path_factory.mktemp("front"), LEVIATHAN_API_KEY="secret")
    process.serve()
    yield process
    process.close()


def statuses(front: FrontProcess, sent: bytes) -> list[int]:
    """The status of each answer until the front closes the connection, or is silent for a second."""
    client = connect(front.url)
    came = b""
    try:
        client.sendall(sent)
        client.settimeout(1)
        while piece := client.recv(1 << 16):
            came += piece
    except TimeoutError:
        came += b" silent "
    except OSError:
        came += b" reset "
    return [int(number) for number in re.findall(rb"HTTP/1\.1 (\d+) ", came)] + [0] * (b" silent " in came)


#: What is sent, and the statuses of its answers; 0 is a connection that stays open.
BROKEN = {
    "two lengths that differ": (HEAD + LENGTH + b"Content-Length: 1\r\n\r\n" + BODY, [400]),
    "a length with a sign": (HEAD + b"Content-Length: +%d\r\n\r\n" % len(BODY) + BODY, [400]),
    "a length below zero": (HEAD + b"Content-Length: -1\r\n\r\n", [400]),
    "a length of 31 digits": (HEAD + b"Content-Length: 1" + b"0" * 30 + b"\r\n\r\n", [400]),
    "an unknown transfer coding": (HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", [400]),
    "a blank before the colon": (HEAD + b"X : y\r\n" + LENGTH + b"\r\n" + BODY, [400]),
    "a head of a megabyte": (HEAD + b"X: " + b"x" * (1 << 20), [400]),
    "a hundred thousand headers": (HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(100_000)) + b"\r\n", [400]),
    "a TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300), [400]),
    "the beginning of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [404, 400]),
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", [400]),
}
SOUND = {
    "the same length twice": (HEAD + LENGTH + LENGTH + b"\r\n" + BODY, [200, 0]),
    "one after the other": ((HEAD + LENGTH + b"\r\n" + BODY) * 2 + HEALTH + b"\r\n", [200, 200, 200, 0]),
    "a client that asks first": (HEAD + b"Expect: 100-continue\r\n" + LENGTH + b"\r\n" + BODY, [100, 200, 0]),
    "an absolute address": (b"GET http://localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n", [404, 0]),
    "TRACE": (HEALTH.replace(b"GET", b"TRACE") + b"\r\n", [405, 0]),
    "a WebSocket": (
        b"GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        [404, 0],
    ),
    "a refused request with its body, and the next": (
        request(CHAT, chat(1, stream=False)) + HEAD + LENGTH + b"\r\n" + BODY,
        [401, 200, 0],
    ),
}


@pytest.mark.parametrize(("sent", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_broken_is_refused_and_the_connection_closed(
    keyed: FrontProcess, sent: bytes, expected: list[int]
) -> None:
    found = statuses(keyed, sent)
    if len(sent) > 1 << 16 and not found:
        return  # closed: the answer is lost where a client still sends
    assert found == expected


@pytest.mark.parametrize(("sent", "expected"), SOUND.values(), ids=SOUND.keys())
def test_what_is_sound_is_answered_in_order(keyed: FrontProcess, sent: bytes, expected: list[int]) -> None:
    assert statuses(keyed, sent) == expected


def test_broken_requests_leave_no_traceback(tmp_path: Path) -> None:
    """Nor more than a line each in the log."""
    front = FrontProcess(tmp_path, LEVIATHAN_API_KEY="secret")
    try:
        front.serve()
        for sent, _expected in BROKEN.values():
            statuses(front, sent)
        assert "Traceback" not in front.log()
        assert front.log().count("\n") <= 3 * len(BROKEN)
    finally:
        front.close()


def test_a_proxy_with_http_1_0_gets_a_whole_stream(front: FrontProcess) -> None:
    """nginx speaks so to what is behind it; the end of the stream is the end of the connection."""
    body = json.dumps(chat(3)).encode()
    client = connect(front.url)
    client.sendall(f"POST {CHAT} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    came = b""
    while piece := client.recv(1 << 16):
        came += piece
    head, _, text = came.partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0]
    assert b"chunked" not in head.lower()
    assert text.startswith(b"data: {")
    assert text.endswith(b"data: [DONE]\n\n")


NAMES = ["../../etc/passwd", "x\r\nSet-Cookie: a=b", "nul\0", "\x1b[2J", "%ff%00", "<script>"]


@pytest.mark.parametrize("name", NAMES)
def test_a_models_name_is_a_word_and_nothing_else(front: FrontProcess, name: str) -> None:
    """No path, no header, no escape: a 404 whose text quotes it as JSON does."""
    for answer in (front.post(CHAT, chat(1, stream=False, model=name)), front.post("/v1/messages", {"model": name})):
        assert 400 <= answer.status_code < 500
        assert "set-cookie" not in answer.headers
        assert all(byte >= 0x20 for byte in answer.content)
        json.loads(answer.content)


JSON_BODIES: list[tuple[str, bytes, int]] = [
    ("UTF-16", BODY.decode().encode("utf-16"), 400),
    ("a number without measure", BODY.replace(b'"temperature": 0', b'"temperature": 1e999'), 400),
    ("infinity", BODY.replace(b'"temperature": 0', b'"temperature": Infinity'), 400),
    ("packed", gzip.compress(BODY), 400),
    ("a key twice, the last one counts", BODY.replace(b'"max_tokens": 1', b'"max_tokens": "x", "max_tokens": 1'), 200),
]


@pytest.mark.parametrize(("body", "status"), [case[1:] for case in JSON_BODIES], ids=[case[0] for case in JSON_BODIES])
def test_json_that_readers_disagree_on(front: FrontProcess, body: bytes, status: int) -> None:
    answer = front.post(CHAT, body, headers={"content-encoding": "gzip"} if body[:2] == b"\x1f\x8b" else {})
    assert answer.status_code == status, answer.text
    said: dict[str, Any] = answer.json()
    for word in ("Traceback", "Expecting", "sys.", "codec can't", "dict", "NoneType"):
        assert word not in str(said.get("error"))


def test_the_reader_of_these_tests_sees_an_open_connection(front: FrontProcess) -> None:
    """The control: an open connection is a 0, a closed one is not."""
    assert statuses(front, HEALTH + b"\r\n") == [200, 0]
    assert statuses(front, HEALTH + b"Connection: close\r\n\r\n") == [200]
    connection = http.client.HTTPConnection("127.0.0.1", int(front.url.rsplit(":", 1)[1]), timeout=30)
    connection.request("GET", "/health")
    assert connection.getresponse().status == 200
    connection.close()
