"""Endpoints that are not there, do not speak HTTP, or do not come to an end."""

import re
import socket
import threading
import time
from typing import Any

import pytest
from smoke_failures import bad, failure, page
from smoke_support import (
    endpoint,
    free_port,
    pieces,
    smoke_site,
    talking,
)

from leviathan.errors import UsageError
from leviathan.smoke.result import State
from leviathan.smoke.suite import run


def test_html_on_the_port() -> None:
    """Another service has the port: every check that asks says so."""
    with endpoint(0, **dict.fromkeys(("health", "models", "completion", "chat", "stream", "refusal"), page)) as url:
        error, _ = failure(url)
    assert bad(error) == ["health", "models", "completion", "stream", "refusal"]
    assert "200 text/html: <!doctype html>" in error.line()


def test_nothing_listens() -> None:
    error, talk = failure(f"http://127.0.0.1:{free_port()}")
    assert bad(error) == ["health"]
    assert {check.state for check in error.smoked.checks[1:]} == {State.SKIPPED}
    assert "got no connection: [Errno 111] Connection refused" in error.line()
    assert "skipped models" in talk


def test_port_that_opens_a_moment_later() -> None:
    """Within smoke.reach_s a refused connection is not a failure."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    served = threading.Event()

    def late() -> None:
        time.sleep(0.7)
        with socket.create_server(("127.0.0.1", port)) as listener:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{"status":"ok"}')
            served.set()

    thread = threading.Thread(target=late)
    thread.start()
    error, _ = failure(url, smoke_reach_s="20")
    thread.join()
    assert served.is_set()
    assert bad(error)[0] == "models"  # health has passed


def test_no_http_on_the_port() -> None:
    def speak(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
            connection.close()

    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=speak, args=(listener,), daemon=True).start()
    error, _ = failure(f"http://127.0.0.1:{listener.getsockname()[1]}")
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    assert "a broken connection after" in error.line()


def test_silent_endpoint_ends_at_the_time_out() -> None:
    with endpoint(completion=lambda reply, body: time.sleep(30)) as url:
        began = time.monotonic()
        error, _ = failure(url, smoke_timeout_s="3")
        assert time.monotonic() - began < 25
    assert bad(error) == ["completion"]
    assert re.search(r"got nothing for \d+\.\d s", error.line())


def test_answer_in_drops_ends_at_the_time_out() -> None:
    """Each byte comes in time, the whole does not."""

    def drops(reply: Any, body: Any) -> None:
        reply.head(200, "application/json", {"Content-Length": "1000"})
        for _ in range(200):
            reply.handler.wfile.write(b" ")
            time.sleep(0.1)

    with endpoint(models=drops) as url:
        error, _ = failure(url, smoke_timeout_s="3")
    assert bad(error) == ["models"]
    assert "got an answer that has not ended after " in error.line()


def test_slow_stream_ends_at_the_time_out() -> None:
    with endpoint(stream=lambda reply, body: reply.events(pieces(), between_s=0.8)) as url:
        error, _ = failure(url, smoke_timeout_s="3")
    assert bad(error) == ["stream"]
    assert re.search(r"has not ended after .* \(\d pieces before: \"a?b?c?\"\)", error.line())


def test_endless_answer_is_cut() -> None:
    with endpoint(models=lambda reply, body: reply.send(200, b" " * (5 << 20))) as url:
        error, _ = failure(url)
    assert "got 200 application/json of more than 4 MiB" in error.line()


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:30000", "ftp://x", "http://", "http://x:port", "http://a:b@c", "http://x?y"]
)
def test_wrong_url(url: str) -> None:
    console, _ = talking()
    with pytest.raises(UsageError, match="invalid endpoint address"):
        run(smoke_site(), {}, console, url=url or "x")


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/"])
def test_base_address_bears_v1(tail: str) -> None:
    console, _ = talking()
    with endpoint() as url:
        assert run(smoke_site(), {}, console, url=url + tail).url == url
