"""The registry client against answers that are endless, slow, packed or misleading; and its proxies."""

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from fakes.hostile_server import Behave, answer, chunks, drip, hostile
from fakes.seeing_proxy import seeing_proxy
from push_support import Talk

from leviathan.errors import LeviathanError, RegistryError, UsageError
from leviathan.http_client import Bounds
from leviathan.registry.attempts import Backoff, TransientError
from leviathan.registry.credentials import Credentials
from leviathan.registry.http_transport import Transport
from leviathan.registry.repository import PAGES, Client
from leviathan.terminal.output import Console

MIB = 1 << 20


def client(host: str, timeout_s: float = 5.0, retries: int = 0, **environ: str) -> Client:
    """A client of the repository n."""
    console = Console(Talk())
    transport = Transport(
        host,
        plain_http=True,
        timeout_s=timeout_s,
        credentials=Credentials("robot", "hunter2"),
        console=console,
        environ=environ,
    )
    backoff = Backoff(base_s=0.001, cap_s=0.002)
    return Client(transport, "n", retries=retries, stop=threading.Event(), console=console, backoff=backoff)


def refusal(behave: Behave, timeout_s: float = 5.0) -> LeviathanError:
    """The error of listing the tags of such a registry, which must come soon."""
    began = time.monotonic()
    with hostile(behave) as host, pytest.raises(LeviathanError) as caught:
        client(host, timeout_s).tags()
    assert time.monotonic() - began < 4
    assert "hunter2" not in caught.value.line()
    return caught.value


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 307])
def test_an_endless_answer_ends_at_four_mebibytes(status: int) -> None:
    def behave(handler: BaseHTTPRequestHandler) -> None:
        if status == 307:  # httpx reads the body of a redirect before it follows it
            handler.send_response(307)
            handler.send_header("Location", "/v2/x")
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            while True:
                handler.wfile.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        chunks(status)(handler)

    assert "more than 4096 KiB" in refusal(behave).line()


def test_a_packed_answer_is_not_unpacked() -> None:
    body = gzip.compress(b" " * (64 * MIB))
    error = refusal(lambda handler: answer(handler, 200, body, Content_Encoding="gzip"))
    assert "in the encoding 'gzip', which was not asked for" in error.line()


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "], ids=["body", "head"]
)
def test_an_answer_that_drips_ends_in_time(head: bytes) -> None:
    assert "has not ended after 0.5 s" in refusal(drip(head), timeout_s=0.5).line()


def pages(link: Callable[[int], str]) -> Behave:
    """Pages of tags, each with a link to another one."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        number = int(handler.path.partition("n=")[2] or 0)
        answer(handler, 200, b'{"tags":["t%d"]}' % number, Link=f'<{link(number)}>; rel="next"')

    return behave


def test_pages_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert PAGES == 200
    monkeypatch.setattr("leviathan.registry.repository.PAGES", 30)
    assert "does not end after 30 pages" in refusal(pages(lambda n: f"/v2/n/tags/list?n={n + 1}")).line()
    assert "does not end after 1 pages" in refusal(pages(lambda n: "/v2/n/tags/list")).line()


def test_a_redirect_that_leads_to_itself() -> None:
    error = refusal(lambda handler: answer(handler, 307, Location=handler.path))
    assert isinstance(error, RegistryError)
    assert "a redirect loop" in error.line()


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"{}]",
        b"\xff\xfe",
        b'{"tags": 7}',
        b"[]",
        b'{"tags": [7]}',
        b'{"tags": ["a\\nerror: fake"]}',
        b'{"tags": ["\\u001b[2Jx"]}',
        b'{"tags": ["' + b"a" * 129 + b'"]}',
    ],
)
def test_what_is_no_list_of_tags_is_one_line(body: bytes) -> None:
    error = refusal(lambda handler: answer(handler, 200, body))
    assert isinstance(error, RegistryError)
    assert error.line().isprintable()
    assert len(error.line()) < 700


def test_a_redirect_takes_no_credentials_to_another_host() -> None:
    """The registry itself gets them: the control."""
    seen: list[tuple[str, str]] = []

    def other(handler: BaseHTTPRequestHandler) -> None:
        seen.append(("other", handler.headers.get("Authorization", "")))
        answer(handler, 200, b'{"tags": ["a"]}')

    def registry(handler: BaseHTTPRequestHandler) -> None:
        key = handler.headers.get("Authorization", "")
        seen.append(("registry", key))
        if key:
            answer(handler, 307, Location=f"http://{elsewhere}/v2/n/tags/list")
        else:
            answer(handler, 401, WWW_Authenticate='Basic realm="x"')

    with hostile(other) as elsewhere, hostile(registry) as host:
        assert client(host).tags() == ["a"]
    assert [(who, key[:6]) for who, key in seen] == [("registry", ""), ("registry", "Basic "), ("other", "")]


@pytest.mark.parametrize(
    "location", ["http://[::1", "http://h:99999/", "file:///etc/passwd", "http://a b/", "http://\x7f/", "ftp://h/"]
)
def test_an_address_that_is_none_is_one_line(location: str) -> None:
    def send(its: Client) -> None:
        its.patch(its.start(), 1, lambda: (b"x",))

    assert isinstance(refusal(lambda handler: answer(handler, 307, Location=location)), RegistryError)
    with hostile(lambda handler: answer(handler, 202, Location=location)) as host:
        with pytest.raises((RegistryError, TransientError)):
            send(client(host))


@pytest.mark.parametrize(
    "token",
    [{"token": "a\nb"}, {"token": "é"}, {"token": ""}, {"token": 7}, {}, {"token": "t", "expires_in": 10**400}, []],
)
def test_any_token_is_an_answer(token: object) -> None:
    asked: list[str | None] = []

    def behave(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.headers.get("Authorization"))
        if handler.path.startswith("/token"):
            answer(handler, 200, json.dumps(token).encode())
        elif handler.headers.get("Authorization") == "Bearer t":
            answer(handler, 200, b'{"tags": ["a"]}')
        else:
            host = handler.headers["Host"]
            answer(handler, 401, WWW_Authenticate=f'Bearer realm="http://{host}/token",service="s"')

    if isinstance(token, dict) and token.get("token") == "t":
        with hostile(behave) as host:
            assert client(host).tags() == ["a"]
        return
    error = refusal(behave)
    assert "denies access" in error.line()
    assert "a\nb" not in error.line()


@pytest.mark.parametrize("realm", ["http://[", "http://h:99999/", "nowhere", "", "http://127.0.0.1:1/x"])
def test_any_realm_is_an_answer(realm: str) -> None:
    error = refusal(lambda handler: answer(handler, 401, WWW_Authenticate=f'Bearer realm="{realm}"'))
    assert isinstance(error, RegistryError)


def test_numbers_without_measure() -> None:
    def behave(handler: BaseHTTPRequestHandler) -> None:
        headers: dict[str, Any] = {"Location": "/up", "Range": "0-" + "9" * 5000, "OCI_Chunk_Min_Length": "9" * 5000}
        answer(handler, 202, **headers)

    with hostile(behave) as host:
        session = client(host).start()
    assert (session.offset, session.min_chunk) == (0, 0)


def test_an_escape_from_the_registry_does_not_reach_the_terminal() -> None:
    text = {"errors": [{"code": "DENIED\x1b[31m", "message": "\x1b]0;pwned\x07\nrun: x \x9b2J \u202egnp"}]}
    error = refusal(lambda handler: answer(handler, 403, json.dumps(text).encode()))
    talk = Talk()
    Console(talk).error(error)
    assert talk.getvalue().rstrip("\n").isprintable()
    assert "DENIED" in talk.getvalue()


def test_a_name_that_does_not_resolve_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def nothing(host: str, *_: object, **__: object) -> object:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    with pytest.raises(RegistryError, match=r"cannot resolve the host name \(http://reg.example/v2/n/tags/list\)"):
        client("reg.example", retries=50).tags()
    assert asked == ["reg.example"]
    with pytest.raises(
        RegistryError, match=r"cannot resolve the host name \(http://p.example:3128\): .*; fix: correct HTTP_PROXY"
    ):
        client("reg.example", retries=50, HTTP_PROXY="http://p.example:3128").tags()
    assert asked == ["reg.example", "p.example"]


# Proxies


def test_the_proxy_is_chosen_by_host() -> None:
    with hostile(lambda handler: answer(handler, 200, b'{"tags": ["a"]}')) as host, seeing_proxy(host) as proxy:
        variables: dict[str, Any] = {"HTTP_PROXY": proxy.address.replace("//", "//u:p@")}
        assert client("reg.example:5000", **variables).tags() == ["a"]
        assert proxy.seen == [("GET", "http://reg.example:5000/v2/n/tags/list")]
        assert proxy.logins == ["Basic dTpw"]
        for no_proxy in ("x,127.0.0.0/8", "fd00::/8,[::1]", ""):
            assert client(host, NO_PROXY=no_proxy, **variables).tags() == ["a"]
        assert client(host, NO_PROXY="fd00::/8,[::1]").tags() == ["a"]
        assert len(proxy.seen) == 1


@pytest.mark.parametrize("value", ["socks5://127.0.0.1:1080", "socks5h://u:hunter2@127.0.0.1:1080", "garbage:xx"])
def test_a_proxy_that_cannot_be_used_is_refused_by_name(value: str) -> None:
    with pytest.raises(UsageError, match="ALL_PROXY") as caught:
        client("reg.example", ALL_PROXY=value).tags()
    assert "hunter2" not in caught.value.line()


def test_a_proxy_in_the_way_is_named() -> None:
    with seeing_proxy() as proxy, pytest.raises(RegistryError) as caught:
        client("reg.example", HTTP_PROXY=proxy.address).tags()
    assert "502" in caught.value.line()
    free = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{free.getsockname()[1]}"
    free.close()
    with pytest.raises(RegistryError, match=f"through the proxy {address} of HTTP_PROXY"):
        client("reg.example", HTTP_PROXY=address).tags()


def test_bounds_are_those_of_the_site() -> None:
    assert Bounds().body == 4 * MIB


def test_a_web_server_that_has_no_such_page_is_no_empty_registry() -> None:
    """A registry without the repository says so in its own form; the control is the same status with that form."""
    page = b"<!DOCTYPE HTML><html><head>\n<title>Not Found </title></head><body><h1>No such file</h1></body></html>"
    with (
        hostile(lambda handler: answer(handler, 404, page, Content_Type="text/html; charset=utf-8")) as host,
        pytest.raises(RegistryError, match=r"404 a web page, 'Not Found'; fix: "),
    ):
        client(host).tags()
    with hostile(lambda handler: answer(handler, 404, b'{"errors": [{"code": "NAME_UNKNOWN"}]}')) as host:
        assert client(host).tags() == []
