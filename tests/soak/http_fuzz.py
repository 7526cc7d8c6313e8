"""Feeds the front's connection with broken HTTP: `http_fuzz.py --inputs 10000000 --seconds 1200 --out FILE`.

`--processes N` shares the inputs among processes, each with a seed of its own from `--seed` on.

The connection (`protocol.py` over uvicorn and h11) and the checks of heads (`admission.py`) run as they are, on a loop
and a transport that do everything at once, in this process. Every input must be answered with a status that is
expected, or wait for more; whatever else happens, an exception above all, ends the run with the input.
"""

import argparse
import json
import logging
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "tools")]

import uvicorn  # noqa: E402
from uvicorn.server import ServerState  # noqa: E402

from leviathan_engine.front.admission import Admission  # noqa: E402
from leviathan_engine.front.connections import Bounds, Connections  # noqa: E402
from leviathan_engine.front.protocol import bounded  # noqa: E402

# For a thousand inputs; SIGALRM ends a run that hangs.
HANG_SECONDS = 60
STATUSES = {b"100", b"200", b"400", b"403", b"421"}
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
SEEDS = [
    b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:30000\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /v1/x HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /ready HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /v1/x HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\nContent-Type: text/plain\r\n"
    b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
    b"GET /%ff%00%0d%0a HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
]
PIECES = [
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b"\xff", b" ", b"\t", b":", b": ", b",", b";", b"HTTP/1.1", b"HTTP/9.9",
    b"Content-Length: 1\r\n", b"content-length: 2\r\n", b"Content-Length: +1\r\n", b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"transfer-encoding : chunked\r\n",
    b"Host: evil.example\r\n", b"Host: [\r\n", b"Host: a:b\r\n", b"Host:\r\n", b"Origin: null\r\n", b"Origin: \xff\r\n",
    b"Content-Type: text/plain\r\n", b"Authorization: Bearer x\r\n", b"Connection: close\r\n",
    b"Expect: 100-continue\r\n", b"Trailer: x\r\n", b"ffffffffffffffff\r\n", b"0\r\n", b"-1\r\n",
    b"1;x=y\r\nz\r\n", b"GET ", b"POST ", b"CONNECT ",
    b"http://evil.example/", b"*", b"/../", b"?", b"#", b"%", b"%zz", b"X: " + b"y" * 300 + b"\r\n", b" folded\r\n",
]  # fmt: skip


class Loop:
    """What uvicorn's connection needs of a loop: tasks run to their end at once, timers never fire."""

    def create_task(self, work: Coroutine[Any, Any, None], **_options: Any) -> "Loop":
        try:
            work.send(None)
        except StopIteration:
            return self
        raise AssertionError("an answer waits for something")

    def add_done_callback(self, _call: Callable[..., None]) -> None:
        """The task is done already; uvicorn's set of tasks keeps it, and is this object alone."""

    def call_later(self, _seconds: float, _call: Callable[..., None]) -> "Loop":
        return self

    def call_soon(self, call: Callable[..., None], *arguments: Any) -> "Loop":
        call(*arguments)
        return self

    def cancel(self) -> None:
        """A timer that never fires."""


class Transport:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, _default: Any = None) -> Any:
        return {"sockname": ("127.0.0.1", 30000), "peername": ("127.0.0.1", 5)}.get(name)

    def pause_reading(self) -> None:
        """The input is fed all the same, as it may be on its way already."""

    resume_reading = pause_reading


async def app(scope: Any, _receive: Any, send: Any) -> None:
    """Answers everything that is let in, and sees that it should have been."""
    names = [name for name, _value in scope["headers"]]
    assert not (b"content-length" in names and b"transfer-encoding" in names), "two lengths were let in"
    assert names.count(b"authorization") < 2, "two keys were let in"
    assert names.count(b"host") < 2, "two hosts were let in"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Fuzzer:
    """One front without a network."""

    def __init__(self) -> None:
        logging.getLogger("uvicorn.error").disabled = True
        self._config = uvicorn.Config(
            Admission(app, (), (), keys=False), ws="none", log_config=None, access_log=False, lifespan="off"
        )
        self._config.load()
        self._connections = Connections(Bounds())
        self._class = bounded(self._connections)
        self.statuses: Counter[str] = Counter()

    def feed(self, pieces: list[bytes]) -> None:
        """One connection with these pieces. Errors: AssertionError, or whatever the front raises."""
        transport = Transport()
        connection = self._class(self._config, ServerState(), {}, Loop())  # type: ignore[arg-type]
        connection.connection_made(transport)
        for piece in pieces:
            if not transport.closed:
                connection.data_received(piece)
        connection.overdue(0.0)
        connection.connection_lost(None)
        assert len(self._connections) == 0, "a connection is left"
        found = STATUS_LINE.findall(transport.written) if transport.written else [b"none"]
        assert found, "what was written is not an answer"
        assert found == [b"none"] or set(found) <= STATUSES, found
        self.statuses.update(status.decode() for status in found)


def broken(chance: random.Random) -> list[bytes]:
    """A request that was changed a few times, in one to three pieces."""
    data = chance.choice(SEEDS)
    for _ in range(chance.randrange(5)):
        at = chance.randrange(len(data) + 1)
        action = chance.randrange(5)
        if action == 0:
            data = data[:at] + chance.choice(PIECES) + data[at:]
        elif action == 1:
            end = at + chance.randrange(12)
            data = data[:at] + data[end:]
        elif action == 2:
            data = data[:at] + bytes((chance.randrange(256),)) + data[at + 1 :]
        elif action == 3:
            line = data.find(b"\r\n", at) + 2
            data = data[:line] + chance.choice(PIECES) + data[line:]
        else:
            data += chance.choice(SEEDS)
    if chance.randrange(3):
        return [data]
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    pieces = [data[: cuts[0]], data[cuts[0] : cuts[1]], data[cuts[1] :]]
    return [piece for piece in pieces if piece]  # an empty one would be the end of the connection


def fuzz(inputs: int, seconds: float, seed: int) -> dict[str, Any]:
    """Feeds so many inputs, or as many as the time allows; the numbers. Errors: those of `Fuzzer.feed`."""
    chance, fuzzer = random.Random(seed), Fuzzer()
    begin, done = time.monotonic(), 0
    while done < inputs and time.monotonic() - begin < seconds:
        signal.alarm(HANG_SECONDS)
        for _ in range(min(1000, inputs - done)):
            pieces = broken(chance)
            try:
                fuzzer.feed(pieces)
            except BaseException:
                sys.stderr.write(f"input {done} of seed {seed}: {pieces!r}\n")
                raise
            done += 1
    taken = time.monotonic() - begin
    return {
        "inputs": done,
        "seconds": round(taken, 1),
        "a_second": round(done / taken),
        "seed": seed,
        "answers": dict(sorted(fuzzer.statuses.items())),
    }


def together(shares: list[dict[str, Any]]) -> dict[str, Any]:
    """The numbers of all processes."""
    answers: Counter[str] = Counter()
    for share in shares:
        answers.update(share["answers"])
    return {
        "inputs": sum(share["inputs"] for share in shares),
        "seconds": max(share["seconds"] for share in shares),
        "a_second": sum(share["a_second"] for share in shares),
        "seeds": [share["seed"] for share in shares],
        "answers": dict(sorted(answers.items())),
    }


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000_000)
    parser.add_argument("--seconds", type=float, default=1200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="the file for the numbers, JSON")
    args = parser.parse_args()
    seeds = range(args.seed, args.seed + args.processes)
    with ProcessPoolExecutor(args.processes) as pool:
        shares = [pool.submit(fuzz, -(-args.inputs // args.processes), args.seconds, seed) for seed in seeds]
        result = together([share.result() for share in shares])
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
