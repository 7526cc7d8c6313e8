"""Clients that a front must survive: each holds something, and none of them answers for it."""

import ctypes
import json
import socket
import struct
from typing import Any
from urllib.parse import urlsplit

SO_ATTACH_FILTER = 26
# Of the client's receive buffer, in bytes; the kernel doubles it.
TINY_BUFFER = 2048
SEGMENT = 1448


def connect(url: str, address: str = "127.0.0.1", *, tiny: bool = False) -> socket.socket:
    """A connection to the front; `tiny` gives it the smallest receive buffer."""
    client = socket.socket()
    if tiny:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, TINY_BUFFER)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
    client.bind((address, 0))
    client.settimeout(30)
    client.connect((urlsplit(url).hostname, urlsplit(url).port))
    return client


def request(path: str, body: Any, **headers: str) -> bytes:
    """A POST as bytes."""
    raw = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(raw)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + raw


def chat(tokens: int, *, stream: bool = True, **fields: Any) -> dict[str, Any]:
    """The body of a chat that is answered with `tokens` letters."""
    messages = [{"role": "user", "content": "hi"}]
    wanted = {"model": "letters", "messages": messages, "max_tokens": tokens, "temperature": 0, "stream": stream}
    return wanted | fields


def vanish(client: socket.socket) -> None:
    """The client's machine is gone: no packet reaches it any more, and it sends none, no FIN and no RST either.

    A socket filter that takes nothing drops every segment before TCP sees it, so nothing is acknowledged.
    """
    take_nothing = struct.pack("HBBI", 0x06, 0, 0, 0)  # BPF_RET | BPF_K, 0 bytes
    code = ctypes.create_string_buffer(take_nothing)
    client.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HxxxxxxP", 1, ctypes.addressof(code)))


def closed(client: socket.socket, seconds: float = 30) -> bool:
    """Whether the front closes the connection within `seconds`; what it sends before is read."""
    client.settimeout(seconds)
    try:
        while client.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True
