"""TLS handshakes are connections: bounded in number and in time, and none of them holds a probe or a client."""

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from bad_clients import closed, connect
from front_process import FrontProcess

from self_signed import self_signed

FILES = 200


class Secure:
    """A front that speaks TLS and may open few files; clients are given two seconds."""

    def __init__(self, folder: Path) -> None:
        certificate, key = self_signed("first", "127.0.0.1", authority=True)
        (folder / "tls.crt").write_bytes(certificate)
        (folder / "tls.key").write_bytes(key)
        names = {"LEVIATHAN_TLS_CERT_FILE": "tls.crt", "LEVIATHAN_TLS_KEY_FILE": "tls.key"}
        environ = {name: str(folder / file) for name, file in names.items()}
        self.front = FrontProcess(folder, files=FILES, LEVIATHAN_CLIENT_SECONDS="2", **environ)
        self.context = ssl.create_default_context(cafile=folder / "tls.crt")

    def health(self) -> float:
        """Seconds of /health on a connection of its own, its handshake included."""
        begin = time.perf_counter()
        with httpx.Client(verify=self.context, timeout=30) as client:
            assert client.get(self.front.url.replace("http:", "https:") + "/health").status_code == 503
        return time.perf_counter() - begin


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Secure]:
    found = Secure(tmp_path)
    yield found
    found.front.close()


def test_more_handshakes_than_files(secure: Secure) -> None:
    """Three times as many as there are descriptors, some of them begun; a probe gets in all the same."""
    secure.health()
    held = [connect(secure.front.url) for _ in range(3 * FILES)]
    for client in held[::2]:
        with_half = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # the beginning of a ClientHello
        try:
            client.sendall(with_half)
        except OSError:
            continue  # closed already, for a newer one
    assert min(secure.health() for _ in range(5)) < 2
    assert "Traceback" not in secure.front.log()
    for client in held:
        client.close()


def test_a_handshake_has_the_time_of_a_head(secure: Secure) -> None:
    silent, half, wrong = (connect(secure.front.url) for _ in range(3))
    half.sendall(b"\x16\x03\x01\x02\x00\x01")
    wrong.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    begin = time.monotonic()
    assert closed(wrong, 10)
    assert all(closed(client, 10) for client in (silent, half))
    assert 1 < time.monotonic() - begin < 8
    assert secure.health() < 5
    assert "Traceback" not in secure.front.log()


def test_what_follows_the_handshake_at_once_is_read(secure: Secure) -> None:
    """The request comes together with the end of the handshake; the next ones on the connection are answered too."""
    host = secure.front.url.removeprefix("http://").split(":")
    with socket.create_connection((host[0], int(host[1])), timeout=30) as raw:
        with secure.context.wrap_socket(raw, server_hostname="127.0.0.1") as client:
            for _ in range(3):
                client.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert client.recv(65536).startswith(b"HTTP/1.1 503")
