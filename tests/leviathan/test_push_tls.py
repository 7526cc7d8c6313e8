"""push and TLS: HTTPS where HTTP is configured and the other way round, authorities, and no byte without TLS."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from fakes.cutting_proxy import CuttingProxy
from fakes.fault_registry import Fault, FaultRegistry
from fakes.fault_registry_handler import PIECE
from push_fault_support import holds, run
from push_support import MIB, REPOSITORY, Layout, make_around, make_site

from leviathan.errors import RegistryError
from leviathan.push.push_image import push
from leviathan.registry.layout import Blob
from leviathan.registry.responses import Session
from leviathan.registry.sessions import Sessions

pytestmark = pytest.mark.usefixtures("meters")


def test_plain_http_where_https_is_expected(layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry().serve() as registry:
        with pytest.raises(
            RegistryError,
            match=r"the registry speaks HTTP, but registry.plain_http is false .*registry.plain_http = true",
        ):
            run(registry, layout, tmp_path, registry_plain_http="false")
        assert registry.requests == []


def test_https_where_plain_http_is_expected(
    layout: Layout, tmp_path: Path, server_tls: ssl.SSLContext, ca_file: Path
) -> None:
    """A TLS server that is not Go's: it says nothing to plain HTTP, and closes the connection."""
    with FaultRegistry().serve(server_tls) as registry:
        with pytest.raises(
            RegistryError, match=r"speaks HTTPS, but registry.plain_http is true .*registry.plain_http = false"
        ):
            run(registry, layout, tmp_path, push_retries="1")
        assert registry.requests == []
        run(registry, layout, tmp_path, registry_plain_http="false", registry_ca_file=str(ca_file))  # the control
        assert holds(registry, layout)


def test_400_for_want_of_tls(layout: Layout, tmp_path: Path, server_tls: ssl.SSLContext) -> None:
    """As nginx does: plain HTTP on its TLS port gets an answer, in words of its own."""
    with as_nginx(server_tls) as host:
        with pytest.raises(
            RegistryError, match=r"speaks HTTPS, but registry.plain_http is true .*registry.plain_http = false"
        ):
            push(make_site(host, layout), make_around(tmp_path)[0])
    with FaultRegistry(Fault("HEAD", status=400)).serve() as registry:  # the control: a 400, and no TLS
        with pytest.raises(RegistryError, match="the registry refuses to check for") as caught:
            run(registry, layout, tmp_path)
        assert "HTTPS" not in str(caught.value)


def test_cut_of_the_first_request_is_not_taken_for_tls(layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry().serve() as registry, CuttingProxy(registry.host, chunk=0, method="HEAD").serve() as proxy:
        around, talk = make_around(tmp_path)
        push(make_site(proxy.host, layout, push_parallel="1"), around)
        assert proxy.cuts == 1
        assert "connection lost" in talk.getvalue()
        assert holds(registry, layout)


def test_unknown_and_known_authority(layout: Layout, tmp_path: Path, server_tls: ssl.SSLContext, ca_file: Path) -> None:
    with FaultRegistry().serve(server_tls) as registry:
        with pytest.raises(RegistryError, match=r"certificate cannot be verified .*registry.ca_file"):
            run(registry, layout, tmp_path, registry_plain_http="false")
        run(registry, layout, tmp_path, registry_plain_http="false", registry_ca_file=str(ca_file))
        assert holds(registry, layout)


#: How an HTTPS registry may lead away from TLS: the request that it answers so, and the answer's status.
AWAY = {"upload": ("POST", 202), "look": ("HEAD", 307)}


@pytest.mark.parametrize("way", AWAY)
def test_no_byte_leaves_without_tls(
    way: str, layout: Layout, tmp_path: Path, server_tls: ssl.SSLContext, ca_file: Path
) -> None:
    """A Location with http on another host, of an upload or a redirect: refused for HTTPS, as it is for a token.

    127.1 is another host by its name, and one that needs no resolver: a sandbox has none.
    """
    method, status = AWAY[way]
    named = {"registry_ca_file": str(ca_file), "push_retries": "0", "push_parallel": "1"}
    with FaultRegistry().serve() as other:
        place = {"Location": f"http://127.1:{other.port}/v2/{REPOSITORY}/blobs/sha256:{'0' * 64}?secret"}
        for tls in (server_tls, None):
            with FaultRegistry(Fault(method, status=status, headers=place, code="")).serve(tls) as registry:
                if tls is None:  # the control
                    with suppress(RegistryError):
                        run(registry, layout, tmp_path / "plain", **named)
                    assert len(other.requests) > 0
                else:
                    with pytest.raises(
                        RegistryError, match=r"an address without TLS \(http://127\.1:.*unencrypted; fix: "
                    ) as caught:
                        run(registry, layout, tmp_path / "tls", registry_plain_http="false", **named)
                    assert other.requests == []
                    assert "secret" not in str(caught.value)


def test_upload_left_from_before_tls(layout: Layout, tmp_path: Path, server_tls: ssl.SSLContext, ca_file: Path) -> None:
    """An address without TLS that an earlier run kept is not asked, and does not stand in the way."""
    with FaultRegistry().serve() as other, FaultRegistry().serve(server_tls) as registry:
        sessions = Sessions(tmp_path / "state", registry.host, REPOSITORY)
        data = layout.bytes_of(layout.biggest)
        blob = Blob(layout.biggest, len(data), layout.path / "blobs/sha256" / layout.biggest.removeprefix("sha256:"))
        sessions.save(blob, Session(f"http://127.1:{other.port}/v2/{REPOSITORY}/blobs/uploads/x", MIB))
        run(registry, layout, tmp_path, registry_plain_http="false", registry_ca_file=str(ca_file))
        assert holds(registry, layout)
        assert other.requests == []


@contextmanager
def as_nginx(tls: ssl.SSLContext) -> Iterator[str]:
    """HOST:PORT of a server that speaks TLS, and answers 400 to who does not."""

    def serve(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    if connection.recv(1, socket.MSG_PEEK) == b"\x16":
                        tls.wrap_socket(connection, server_side=True).close()
                    else:
                        connection.recv(PIECE)
                        connection.sendall(
                            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                        )

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
