"""The ways into a pod's network and out of it: a port-forward over a real WebSocket client, a port of the node's."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest
import websocket  # type: ignore[import-untyped]

from .netns import PodNetwork
from .port_forward import PROTOCOL, frame, messages
from .server import KubeletServer, NoLog
from .ways import Way


@pytest.fixture
def network() -> Iterator[PodNetwork]:
    one = PodNetwork("10.244.0.9")
    yield one
    one.close()


def echo(listener: socket.socket) -> None:
    """Answer every connection with what it sends, until the listener is closed."""

    def one(line: socket.socket) -> None:
        with line, contextlib.suppress(OSError):
            while piece := line.recv(1 << 16):
                line.sendall(piece)

    def all_of_them() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    listener.listen()
    threading.Thread(target=all_of_them, daemon=True).start()


@pytest.fixture
def kubelet(network: PodNetwork) -> Iterator[KubeletServer]:
    """A server with one pod, ns/pod, which echoes on its port 8080."""
    listener = network.socket()
    listener.bind(("127.0.0.1", 8080))
    echo(listener)

    def dial(namespace: str, pod: str, port: int) -> socket.socket:
        if (namespace, pod) != ("ns", "pod"):
            raise NoLog(404, f'pod "{pod}" does not exist')
        inner = network.socket()
        inner.connect(("127.0.0.1", port))
        return inner

    def no_log(*_: object) -> tuple[object, object]:
        raise NoLog(404, "none")

    with KubeletServer("127.0.0.1", 0, no_log, None, None, dial) as server:  # type: ignore[arg-type]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()
    listener.close()


def opened(kubelet: KubeletServer, pod: str, port: int) -> websocket.WebSocket:
    url = f"wss://127.0.0.1:{kubelet.server_address[1]}/portForward/ns/{pod}?port={port}"
    line = websocket.create_connection(
        url, subprotocols=[PROTOCOL], sslopt={"cert_reqs": ssl.CERT_NONE}, timeout=10, http_no_proxy=["127.0.0.1"]
    )
    assert line.getsubprotocol() == PROTOCOL
    for channel in (b"\0", b"\1"):
        assert line.recv() == channel + port.to_bytes(2, "little")
    return line


@pytest.mark.parametrize("size", [1, 125, 126, 70_000, 3_000_000])
def test_bytes_of_any_number_come_back(kubelet: KubeletServer, size: int) -> None:
    line = opened(kubelet, "pod", 8080)
    sent = bytes(range(251)) * (size // 251 + 1)
    for at in range(0, size, 50_000):
        line.send_binary(b"\0" + sent[at : min(size, at + 50_000)])
    came = bytearray()
    while len(came) < size:
        piece = line.recv()
        assert isinstance(piece, bytes)
        assert piece[:1] == b"\0"
        came += piece[1:]
    assert bytes(came) == sent[:size]
    line.close()


@pytest.mark.parametrize(("pod", "port", "words"), [("pod", 81, "refused"), ("other", 8080, "does not exist")])
def test_what_cannot_be_reached_is_told_on_the_channel_of_errors(
    kubelet: KubeletServer, pod: str, port: int, words: str
) -> None:
    piece = opened(kubelet, pod, port).recv()
    assert isinstance(piece, bytes)
    assert piece[:1] == b"\1"
    assert words in piece.decode()


def test_a_frame_in_two_pieces_waits_for_its_end() -> None:
    whole = frame(b"x" * 300)
    came = bytearray(whole[:200])
    assert list(messages(came)) == []
    came += whole[200:] + frame(b"y")
    assert [data for _, data in messages(came)] == [b"x" * 300, b"y"]


def test_a_port_of_the_node_is_the_pods_own_until_it_is_closed(network: PodNetwork) -> None:
    with socket.create_server(("127.0.0.1", 0)) as outside:
        echo(outside)
        port = outside.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            network.socket().connect(("127.0.0.1", port))  # the control
        way = Way(network, port)
        with network.socket() as inner:
            inner.connect(("127.0.0.1", port))
            inner.sendall(b"hello")
            assert inner.recv(9) == b"hello"
        way.close()
        with pytest.raises(ConnectionRefusedError):
            network.socket().connect(("127.0.0.1", port))
