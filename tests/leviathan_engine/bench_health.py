"""How long /health takes while 64 streams are open, for bench_front.py.

Front, engine, load and probe are processes of their own: in one process the clients' own interpreter lock would be
most of the tail. Of the 64 streams one is generated and 63 wait in the queue, as in the pod; each is 40 tokens long, so
that they also end and begin.
"""

import contextlib
import gc
import http.client
import json
import multiprocessing
import os
import socket
import threading
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

STREAMS, LOADERS, TOKENS = 64, 4, 40
SAMPLES = 3000
SETTLE, BETWEEN = 3.0, 0.005
JSON = {"content-type": "application/json"}
FIELDS = {"messages": [{"role": "user", "content": "hello"}], "temperature": 0, "stream": True, "max_tokens": TOKENS}
BODY = json.dumps({"model": "letters"} | FIELDS).encode()


def connect(url: str) -> http.client.HTTPConnection:
    """A connection that sends small packets at once."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=300)
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def engine(path: Path, folder: Path, pace: float) -> None:
    """A process that answers with the alphabet: a token every `pace` seconds. `path` is the front's socket."""
    from front_process import Letters  # noqa: PLC0415

    from leviathan_engine import wire  # noqa: PLC0415
    from leviathan_engine.worker.session import Session  # noqa: PLC0415

    letters = Letters(folder)
    letters.ids, letters.delay = (letters.ids * 2)[:TOKENS], pace
    with contextlib.suppress(OSError):  # the front has been ended
        Session(wire.Link(path), letters, os.getpid()).run()


def load(url: str, done: Any) -> None:
    """A process that keeps its share of the streams open; it adds to `done` each that came to its end."""

    def one() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):  # the front has been ended
            while True:
                connection = connect(url)
                connection.request("POST", "/v1/chat/completions", BODY, JSON)
                answer = connection.getresponse()
                ended = answer.status == 200 and answer.read().endswith(b"data: [DONE]\n\n")
                connection.close()
                if not ended:
                    os._exit(1)
                with done.get_lock():
                    done.value += 1

    threads = [threading.Thread(target=one, daemon=True) for _ in range(STREAMS // LOADERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def probe(url: str, out: Connection) -> None:
    """A process that asks; it sends the milliseconds of every answer."""
    gc.disable()
    out.send(sample(url, SAMPLES))


def sample(url: str, count: int) -> list[float]:
    """Milliseconds of each of `count` answers of /health, on one kept connection. Errors: SystemExit for a status."""
    connection = connect(url)
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        connection.request("GET", "/health")
        answer = connection.getresponse()
        answer.read()
        times.append((time.perf_counter() - begun) * 1e3)
        if answer.status != 200:
            raise SystemExit(f"/health is {answer.status}")
        time.sleep(BETWEEN)
    return times


def open_requests(url: str) -> int:
    """Requests that wait or are generated, by /metrics."""
    with urlopen(url + "/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    names = ("leviathan_queue_waiting ", "leviathan_running ")
    return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(names)))


def measure(front: Any, pace: float) -> tuple[list[float], str]:
    """The sorted milliseconds of SAMPLES answers, and how in words. `front` is a FrontProcess that has no engine yet.

    Errors: SystemExit when a part of the load has ended, or the streams were not all open.
    """
    from front_process import SERVED  # noqa: PLC0415

    from leviathan_engine import wire  # noqa: PLC0415

    context = multiprocessing.get_context("spawn")
    front.link.send(wire.model_message(replace(SERVED, folder=str(front.folder))))
    done = context.Value("q", 0)
    receiver, sender = context.Pipe(duplex=False)
    processes = [context.Process(target=engine, args=(front.socket_path, front.folder, pace), daemon=True)]
    processes += [context.Process(target=load, args=(front.url, done), daemon=True) for _ in range(LOADERS)]
    prober = context.Process(target=probe, args=(front.url, sender), daemon=True)
    try:
        processes[0].start()
        front.wait(lambda: open_requests(front.url) == 0 and _ready(front.url))
        for process in processes[1:]:
            process.start()
        front.wait(lambda: open_requests(front.url) >= STREAMS - 1)
        time.sleep(SETTLE)
        before = done.value
        prober.start()
        sender.close()
        times = receiver.recv()
        ended, still = done.value - before, open_requests(front.url)
        if still < STREAMS - LOADERS or not all(process.is_alive() for process in processes):
            raise SystemExit(f"only {still} of {STREAMS} streams are open: the load has ended")
    except EOFError as err:
        raise SystemExit("the probe of /health has ended: its words are above") from err
    finally:
        for process in (prober, *processes):
            if process.pid is not None:
                process.kill()
                process.join()
    return sorted(times), f"{STREAMS} streams open from {LOADERS} other processes, {ended} of them ended meanwhile"


def _ready(url: str) -> bool:
    with contextlib.suppress(OSError), urlopen(url + "/ready", timeout=60) as answer:
        return bool(answer.status == 200)
    return False
