"""`pods/portforward` as a kubelet serves it: a WebSocket with a channel for a port's bytes and one for its errors.

Source: RFC 6455; cri/streaming/portforward/websocket.go of Kubernetes 1.34 (v4.channel.k8s.io: the first message
of a channel is the port, little-endian; data channels have even numbers).
"""

import base64
import hashlib
import select
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

PROTOCOL = "v4.channel.k8s.io"
_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BINARY, _CLOSE, _FINAL, _MASKED = 2, 8, 0x80, 0x80
PIECE = 1 << 16


def serve(handler: BaseHTTPRequestHandler, port: int, dial: Callable[[], socket.socket]) -> None:
    """Answer a request for a WebSocket, and carry bytes both ways until one side ends. Errors: OSError."""
    key = handler.headers.get("Sec-WebSocket-Key", "")
    accepted = base64.b64encode(hashlib.sha1((key + _MAGIC).encode(), usedforsecurity=False).digest()).decode()
    handler.send_response(101)
    for name, value in (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accepted)):
        handler.send_header(name, value)
    handler.send_header("Sec-WebSocket-Protocol", PROTOCOL)
    handler.end_headers()
    handler.close_connection = True
    client = handler.connection
    for channel in (0, 1):
        client.sendall(frame(struct.pack("<BH", channel, port)))
    try:
        pod = dial()
    except OSError as err:
        client.sendall(frame(b"\1" + f"error forwarding port {port}: {err}".encode()))
        return
    with pod:
        assert isinstance(client, ssl.SSLSocket)
        _carry(client, pod)


def _carry(client: ssl.SSLSocket, pod: socket.socket) -> None:
    """In one thread: an SSLSocket is not for two."""
    came = bytearray()
    while True:
        ready = [client] if client.pending() else select.select([client, pod], [], [])[0]
        if client in ready:
            piece = client.recv(PIECE)
            came += piece
            for opcode, data in messages(came):
                if opcode == _BINARY and data[:1] == b"\0":
                    pod.sendall(data[1:])
                elif opcode == _CLOSE:
                    return
            if not piece:
                return
        if pod in ready:
            piece = pod.recv(PIECE)
            client.sendall(frame(b"\0" + piece) if piece else frame(b"", _CLOSE))
            if not piece:
                return


def frame(data: bytes, opcode: int = _BINARY) -> bytes:
    """A whole message of a server's, unmasked."""
    if len(data) < 126:
        return struct.pack(">BB", _FINAL | opcode, len(data)) + data
    return (
        struct.pack(">BBH", _FINAL | opcode, 126, len(data)) + data
        if len(data) < 1 << 16
        else (struct.pack(">BBQ", _FINAL | opcode, 127, len(data)) + data)
    )


def messages(came: bytearray) -> Iterator[tuple[int, bytes]]:
    """Opcode and content of the whole frames in `came`, which are taken out of it."""
    while len(came) >= 2:
        size, at = came[1] & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            if len(came) < at + width:
                return
            size, at = int.from_bytes(came[at : at + width], "big"), at + width
        masked = bool(came[1] & _MASKED)
        end = at + 4 * masked + size
        if len(came) < end:
            return
        data = bytes(came[end - size : end])
        if masked:
            mask = bytes(came[at : at + 4]) * (size // 4 + 1)
            data = (int.from_bytes(data, "big") ^ int.from_bytes(mask[:size], "big")).to_bytes(size, "big")
        opcode = came[0] & 0x0F
        del came[:end]
        yield opcode, data
