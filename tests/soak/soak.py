"""64 honest clients with every bad client at once: `soak.py --seconds 3600 --out FILE`.

The front is the real one, in a process of its own; the engine behind it speaks the alphabet. Every honest client has an
address of its own and sends one request after the other. Exit status 1 when an honest request is lost, /health is not
200, or memory grows; the file has the numbers either way.
"""

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import socket
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "leviathan_engine"), str(HERE.parents[1] / "tools")]

import bad  # noqa: E402
from bad_clients import chat  # noqa: E402
from front_process import SERVED, FrontProcess, Letters  # noqa: E402

from leviathan_engine import wire  # noqa: E402
from leviathan_engine.worker.session import Session  # noqa: E402

HONEST = 64
TOKENS = 5
QUEUE = 128
CLIENT_SECONDS = 10
REQUEST_SECONDS = 300
SAMPLE_SECONDS = 0.5
# What the front may grow by after its first fifth of the time: buffers of what is under way, not a leak.
GROWTH = 48 << 20


def engine(path: Path, folder: Path) -> None:
    """A process that answers with letters, as fast as it can."""
    letters = Letters(folder)
    letters.ids = (letters.ids * bad.LONG)[: bad.LONG]
    with contextlib.suppress(OSError):  # the front has been ended
        Session(wire.Link(path), letters, os.getpid()).run()


def honest(url: str, stop: Any, out: Any) -> None:
    """A process with all honest clients; it sends [seconds of each answer, what was lost]."""
    times: list[float] = []
    lost: list[str] = []

    def client(number: int) -> None:
        while not stop.is_set():
            begin = time.monotonic()
            try:
                problem = ask(url, f"127.0.1.{number + 1}", stream=number % 2 == 0)
            except (OSError, http.client.HTTPException) as err:
                problem = f"{type(err).__name__}: {err}"
            times.append(time.monotonic() - begin)
            if problem:
                lost.append(problem)
            time.sleep(0.2)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(HONEST)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    out.send([times, lost])


def ask(url: str, address: str, *, stream: bool) -> str:
    """One honest request on a connection of its own; what was wrong with its answer, "" for nothing."""
    place = urlsplit(url).netloc
    connection = http.client.HTTPConnection(place, timeout=REQUEST_SECONDS, source_address=(address, 0))
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    body = json.dumps(chat(TOKENS, stream=stream))
    connection.request("POST", bad.CHAT, body, {"content-type": "application/json"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    if answer.status != 200:
        return f"{answer.status} {text[:200]}"
    if stream:
        return "" if text.endswith("data: [DONE]\n\n") and text.count('"content":"') == TOKENS + 1 else text[-200:]
    return "" if json.loads(text)["choices"][0]["message"]["content"] == "abcde" else text[:200]


def probe(url: str) -> tuple[float, str]:
    """Milliseconds of /health on a connection of its own, and what was wrong with it."""
    begin = time.monotonic()
    try:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
        connection.request("GET", "/health")
        answer = connection.getresponse()
        answer.read()
        connection.close()
        problem = "" if answer.status == 200 else str(answer.status)
    except (OSError, http.client.HTTPException) as err:
        problem = f"{type(err).__name__}: {err}"
    return (time.monotonic() - begin) * 1e3, problem


def resident(pid: int) -> int:
    """Bytes of RAM of the process."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(text.split("VmRSS:")[1].split()[0]) << 10


def spread(values: list[float]) -> dict[str, float]:
    """Median, 99th percentile and largest."""
    ordered = sorted(values) or [0.0]
    return {
        "count": len(values),
        "p50": round(ordered[len(ordered) // 2], 3),
        "p99": round(ordered[int(0.99 * (len(ordered) - 1))], 3),
        "max": round(ordered[-1], 3),
    }


def soak(seconds: float, work: Path) -> dict[str, Any]:
    """Runs it; the numbers."""
    context = multiprocessing.get_context("spawn")
    settings = {"LEVIATHAN_QUEUE": str(QUEUE), "LEVIATHAN_CLIENT_SECONDS": str(CLIENT_SECONDS)}
    front = FrontProcess(work, **settings)
    model = replace(SERVED, folder=str(front.folder), cache_lens=20_000, max_prompt=10_000, max_new_tokens=bad.LONG)
    front.link.send(wire.model_message(model))
    counts, stop = context.Array("q", len(bad.KINDS)), context.Event()
    receiver, sender = context.Pipe(duplex=False)
    processes = [context.Process(target=engine, args=(front.socket_path, front.folder), daemon=True)]
    try:
        processes[0].start()
        front.wait(lambda: probe(front.url)[1] == "")
        alone = [probe(front.url)[0] for _ in range(50)]
        good = context.Process(target=honest, args=(front.url, stop, sender), daemon=True)
        processes += [good, context.Process(target=bad.run, args=(front.url, counts), daemon=True)]
        for process in processes[1:]:
            process.start()
        health, memory = watch(front, seconds)
        stop.set()
        if not receiver.poll(REQUEST_SECONDS + 60):
            raise SystemExit("the honest clients did not come to an end")
        times, lost = receiver.recv()
        alive = front.process.poll() is None and all(process.is_alive() for process in (processes[0], processes[2]))
        return {
            "seconds": seconds,
            "honest_clients": HONEST,
            "honest_seconds": spread(times),
            "lost": len(lost),
            "lost_first": lost[:5],
            "health_ms_before": spread(alone),
            "health_ms": spread([ms for ms, _problem in health]),
            "health_problems": [problem for _ms, problem in health if problem][:5],
            "memory_mib": [round(size / (1 << 20), 1) for size in memory],
            "bad": {kind.__name__: counts[index] for index, kind in enumerate(bad.KINDS)},
            "cancelled": counted(front, "leviathan_cancelled_total"),
            "log_lines": front.log().count("\n"),
            "alive": alive,
        }
    finally:
        for process in processes:
            process.terminate()
        front.close()


def counted(front: FrontProcess, name: str) -> float | None:
    """A counter of the front; None where it does not answer: an hour's other numbers are worth more than this one."""
    with contextlib.suppress(httpx.HTTPError):
        lines = httpx.get(front.url + "/metrics", timeout=60).text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(name + " ")), 0.0)
    return None


def watch(front: FrontProcess, seconds: float) -> tuple[list[tuple[float, str]], list[int]]:
    """Asks /health and looks at the memory until the time is over; the memory 60 times, evenly."""
    health: list[tuple[float, str]] = []
    memory: list[int] = []
    begin = time.monotonic()
    while (now := time.monotonic() - begin) < seconds:
        health.append(probe(front.url))
        if now >= len(memory) * seconds / 60:
            memory.append(resident(front.process.pid))
        time.sleep(SAMPLE_SECONDS)
    return health, memory


def failures(result: dict[str, Any]) -> list[str]:
    """What the soak finds wrong."""
    memory = result["memory_mib"]
    settled = memory[len(memory) // 5 : len(memory) // 2] or memory
    late = memory[-len(memory) // 4 :]
    grown = min(late) - max(settled)
    checks = [
        (result["lost"] > 0, f"{result['lost']} honest requests were lost: {result['lost_first']}"),
        (result["honest_seconds"]["count"] == 0, "no honest request was sent"),
        (bool(result["health_problems"]), f"/health: {result['health_problems']}"),
        (grown > GROWTH / (1 << 20), f"memory grew by {grown:.0f} MiB"),
        (not result["alive"], "a process has ended"),
        (not all(result["bad"].values()) and result["seconds"] >= 60, f"a kind never ran: {result['bad']}"),
    ]
    return [text for wrong, text in checks if wrong]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--out", type=Path, required=True, help="the file for the numbers, JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak") as work:
        result = soak(args.seconds, Path(work))
    result["failures"] = failures(result)
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for text in result["failures"]:
        sys.stderr.write(f"soak: {text}\n")
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
