"""The tests' own server: it is quiet about clients that leave, and about nothing else."""

import socket
import struct
import time

import pytest
from http_site import Site

BIG = b"x" * (64 << 20)


def ask(site: Site, path: str) -> socket.socket:
    """A connection that has asked for `path` and reads nothing."""
    host, _, port = site.url.removeprefix("http://").partition(":")
    client = socket.create_connection((host, int(port)))
    client.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    return client


def test_a_client_that_leaves_is_no_traceback(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.serve("/big", BIG)
    client = ask(site, "/big")
    client.recv(1)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by a reset
    client.close()
    assert site.left.wait(20)
    assert capsys.readouterr().err == ""


def test_a_fault_of_the_server_is_one(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.serve("/bad", b"1", kind="text/\u20ac")  # no header can hold that
    with ask(site, "/bad") as client:
        assert client.recv(100) == b""
    said = ""
    until = time.monotonic() + 20
    while "UnicodeEncodeError" not in said and time.monotonic() < until:
        said += capsys.readouterr().err
        time.sleep(0.01)
    assert "UnicodeEncodeError" in said
    assert not site.left.is_set()
