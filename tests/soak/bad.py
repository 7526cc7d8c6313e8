"""The bad clients of the soak: each kind is a function that does its worst once, in a loop of its own."""

import contextlib
import json
import os
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from bad_clients import chat, connect, request, vanish

CHAT = "/v1/chat/completions"
# Tokens of an answer that does not fit into what the kernel buffers for a client.
LONG = 4000
HOLD_SECONDS = 15.0


def stops_reading(url: str, address: str) -> None:
    """Asks for a long stream with the smallest buffer and reads nothing of it."""
    client = connect(url, address, tiny=True)
    client.sendall(request(CHAT, chat(LONG)))
    hold(client)


def reads_slowly(url: str, address: str) -> None:
    """Takes a few bytes now and then."""
    client = connect(url, address, tiny=True)
    client.sendall(request(CHAT, chat(LONG)))
    for _ in range(int(HOLD_SECONDS * 5)):
        client.recv(64)
        time.sleep(0.2)


def vanishes(url: str, address: str) -> None:
    """Its machine is gone in the middle of the stream."""
    client = connect(url, address)
    client.sendall(request(CHAT, chat(LONG)))
    client.recv(100)
    vanish(client)
    time.sleep(HOLD_SECONDS)


def vanishes_in_the_queue(url: str, address: str) -> None:
    """It is gone before its turn."""
    client = connect(url, address)
    client.sendall(request(CHAT, chat(50, stream=False)))
    vanish(client)
    time.sleep(HOLD_SECONDS)


def resets(url: str, address: str) -> None:
    """Ends its connection with RST in the middle of the stream."""
    client = connect(url, address)
    client.sendall(request(CHAT, chat(LONG)))
    client.recv(100)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    time.sleep(0.5)


def holds_connections(url: str, address: str) -> None:
    """Opens more connections than one address may have, and sends nothing."""
    clients = [connect(url, address) for _ in range(600)]
    time.sleep(HOLD_SECONDS)
    for client in clients:
        client.close()


def drips_a_head(url: str, address: str) -> None:
    """Sends a head that never ends, a byte at a time."""
    clients = [connect(url, address) for _ in range(20)]
    for client in clients:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ")
    for _ in range(40):
        time.sleep(0.25)
        for client in clients:
            client.send(b"x")


def drips_bodies(url: str, address: str) -> None:
    """Holds large bodies that never end."""
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n".encode()
    clients = [connect(url, address) for _ in range(20)]
    for client in clients:
        client.sendall(head + b'{"model": "' + b"x" * 900_000)
    for _ in range(10):
        time.sleep(1)
        for client in clients:
            client.send(b"x")


def takes_all_places(url: str, address: str) -> None:
    """200 requests with a name each."""
    clients = []
    for number in range(200):
        client = connect(url, address)
        client.sendall(request(CHAT, chat(50, stream=False, user=f"u{number}")))
        clients.append(client)
    time.sleep(HOLD_SECONDS)
    for client in clients:
        client.close()


def sends_long_prompts(url: str, address: str) -> None:
    """Prompts that turn out to be too long only when they are tokenised."""
    answered(url, address, request("/v1/completions", {"model": "letters", "prompt": "\u00e9a b " * 20_000}))
    time.sleep(0.5)


def sends_garbage(url: str, address: str) -> None:
    """What is not HTTP: noise, a TLS hello, two lengths, a header of a megabyte."""
    noise = random.randbytes(random.randrange(1, 400))
    lengths = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    for data in (
        noise,
        b"\x16\x03\x01\x02\x00\x01",
        lengths + b"0\r\n\r\nGET / HTTP/1.1\r\n",
        b"GET /" + b"x" * (1 << 20),
    ):
        answered(url, address, data + b"\r\n\r\n")
    time.sleep(0.1)


def sends_wrong_json(url: str, address: str) -> None:
    """Bodies that are expensive or impossible to read."""
    bodies = [b"[" * 200_000, b"1" * 5000, b'"\xff"', b"{}", json.dumps({"model": ["letters"] * 20_000}).encode()]
    head = "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    for body in bodies:
        answered(url, address, (head % (CHAT, len(body))).encode() + body)
    time.sleep(0.1)


def comes_from_elsewhere(url: str, address: str) -> None:
    """A page of another site, and one whose name leads here."""
    answered(url, address, request(CHAT, chat(1), Origin="http://evil.example", Content_Type="text/plain"))
    answered(url, address, b"GET /v1/models HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    time.sleep(0.1)


def answered(url: str, address: str, data: bytes) -> None:
    """Sends and waits for the begin of an answer, or the end of the connection."""
    client = connect(url, address)
    client.sendall(data)
    client.recv(100)
    client.close()


def hold(client: socket.socket) -> None:
    """Keeps a connection without reading."""
    time.sleep(HOLD_SECONDS)
    client.close()


KINDS: tuple[Callable[[str, str], None], ...] = (
    stops_reading,
    reads_slowly,
    vanishes,
    vanishes_in_the_queue,
    resets,
    holds_connections,
    drips_a_head,
    drips_bodies,
    takes_all_places,
    sends_long_prompts,
    sends_garbage,
    sends_wrong_json,
    comes_from_elsewhere,
)


def run(url: str, counts: Any) -> None:
    """A process that runs all kinds at once until it is ended; `counts` has how often each kind did its worst."""

    def loop(index: int, kind: Callable[[str, str], None]) -> None:
        while True:
            with contextlib.suppress(OSError):
                kind(url, f"127.0.2.{index + 1}")
            counts[index] += 1
            time.sleep(0.05)

    threads = [threading.Thread(target=loop, args=pair, daemon=True) for pair in enumerate(KINDS)]
    for thread in threads:
        thread.start()
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1)
