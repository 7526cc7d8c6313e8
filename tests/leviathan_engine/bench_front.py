"""What the front costs: `python3 tests/leviathan_engine/bench_front.py [--only-health] [--json]`.

It measures on this machine, with an engine that gives a token every `--pace` milliseconds: a request's cost over the
same job sent straight to the engine's socket (with DeepSeek-V3's chat template, and with one that nobody knows, which
is rendered in a process of its own), the decode rate meanwhile, /health under 64 streams, and the time until
the launcher's port listens. Prints a table with the limits; exit code 1 when one is exceeded.
tests/gpu/front_cost.py compares it with a bare KTransformers server on a GPU.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import bad_clients
import bench_health
from bench_health import JSON, connect

REQUEST_MS, DECODE_SHARE, HEALTH_MS, LISTEN_S = 2.0, 0.02, 10.0, 2.0
# Milliseconds a token while /health is asked: about what the fastest model measured gives.
HEALTH_PACE = 3.0
TOOLS = Path(__file__).resolve().parents[2] / "tools"


@dataclass(frozen=True)
class Row:
    """One measured figure: `value` and `limit` in `unit`, with `detail` in words."""

    what: str
    value: float
    limit: float
    unit: str
    detail: str

    def line(self) -> str:
        """A row of the Markdown table."""
        verdict = "ok" if self.value <= self.limit else "EXCEEDED"
        figures = f"{self.value:.3f} {self.unit} | ≤ {self.limit:g} {self.unit}"
        return f"| {self.what} | {figures} | {verdict} | {self.detail} |"


def gaps(url: str, body: bytes) -> list[float]:
    """Seconds between the pieces of text of one stream; the last is the one until its end."""
    connection = connect(url)
    connection.request("POST", "/v1/chat/completions", body, JSON)
    answer = connection.getresponse()
    if answer.status != 200:
        raise SystemExit(f"{url}: {answer.status} {answer.read(300)!r}")
    times = []
    while line := answer.readline():
        if line.startswith(b"data:") and b'"content"' in line:
            times.append(time.perf_counter())
    times.append(time.perf_counter())
    connection.close()
    return [b - a for a, b in pairwise(times)]


class Direct:
    """The engine's socket without the front: jobs go straight in, tokens straight out."""

    def __init__(self, letters: Any) -> None:
        """`letters` is the engine."""
        from leviathan_engine import wire  # noqa: PLC0415
        from leviathan_engine.worker.session import Session  # noqa: PLC0415

        self._wire = wire
        self.engine = letters
        self._folder = tempfile.TemporaryDirectory(prefix="lev")
        path = Path(self._folder.name) / "s"
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen(1)
        link = wire.Link(path)
        self._peer, _ = server.accept()
        self._lines = self._peer.makefile("rb")
        threading.Thread(target=lambda: Session(link, letters, os.getpid()).run(), daemon=True).start()
        self._until("ready")

    def run(self, ids: tuple[int, ...], tokens: int) -> list[float]:
        """The times at which the tokens of one job came."""
        self._peer.sendall(
            self._wire.encode(self._wire.generate_message(self._wire.Job("x", ids, tokens, 0.0, 1.0, None, ())))
        )
        return self._until("done")

    def _until(self, kind: str) -> list[float]:
        times = []
        for line in self._lines:
            message = self._wire.decode(line)
            if message["kind"] == "token":
                times.append(time.perf_counter())
            elif message["kind"] == kind:
                return times
        raise SystemExit("the engine's end of the socket has closed")


def timed(call: Callable[[], Any], rounds: int) -> float:
    """Milliseconds of a call, the median."""
    out = []
    for _ in range(rounds):
        begun = time.perf_counter()
        call()
        out.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(out)


def parts(pace: float, rounds: int) -> list[Row]:
    """The front alone, on this machine."""
    from front_process import FrontProcess, Letters  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        front = FrontProcess(Path(folder))
        try:
            front.serve(cache_lens=4096, max_prompt=4000, max_new_tokens=3000)
            letters = Letters(front.folder)
            direct = Direct(letters)
            for engine in (letters, front.letters):
                engine.ids = (engine.ids * 20)[:500]
            rows = [_request("a request, its template unknown", front, direct, rounds)]
            for engine in (letters, front.letters):
                engine.delay = pace / 1e3
            rows.append(_decode(front, direct))
            rows.insert(0, _known(direct, rounds))
        finally:
            front.close()
    return [*rows, _health(HEALTH_PACE), _listen()]


def _known(direct: Direct, rounds: int) -> Row:
    """With the template that most users have."""
    from deepseek_templates import template_source  # noqa: PLC0415
    from front_process import FrontProcess  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        front = FrontProcess(Path(folder), template_source("V3"))
        try:
            front.serve(cache_lens=4096, max_prompt=4000, max_new_tokens=3000)
            direct.engine.delay = 0.0
            return _request("a request", front, direct, rounds)
        finally:
            front.close()


def _request(what: str, front: Any, direct: Direct, rounds: int) -> Row:
    ask = exchange(front.url)
    timed(ask, 20)
    pairs = [(timed(ask, 5), timed(lambda: direct.run((1, 2, 3), 1), 5)) for _ in range(max(1, rounds // 5))]
    with_front, without = (statistics.median(column) for column in zip(*pairs, strict=True))
    detail = f"{with_front:.2f} ms over HTTP, {without:.2f} ms straight to the engine, {rounds} in turns"
    return Row(what, with_front - without, REQUEST_MS, "ms", detail)


def exchange(url: str) -> Callable[[], None]:
    """A function that sends one chat request over one connection and reads the answer.

    It uses the socket alone: an HTTP library takes 0.3 ms a request, which are not the front's.
    """
    connection = bad_clients.connect(url)
    body = bad_clients.chat(1, stream=False)
    request = bad_clients.request("/v1/chat/completions", body, Content_Type="application/json")

    def ask() -> None:
        connection.sendall(request)
        answer = connection.recv(1 << 16)
        while b"\r\n\r\n" not in answer:
            answer += connection.recv(1 << 16)
        top, _, rest = answer.partition(b"\r\n\r\n")
        length = int(top.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(rest) < length:
            rest += connection.recv(1 << 16)
        if not top.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(f"{top!r} {rest!r}")

    return ask


def _decode(front: Any, direct: Direct) -> Row:
    mine: list[float] = []
    bare: list[float] = []
    for _ in range(3):
        mine += gaps(front.url, json.dumps(bad_clients.chat(200)).encode())[4:-1]
        times = direct.run((1, 2, 3), 200)
        bare += [b - a for a, b in pairwise(times)][4:]
    a, b = statistics.fmean(bare) * 1e3, statistics.fmean(mine) * 1e3
    detail = f"{b:.3f} ms a token through the front, {a:.3f} ms without, mean of 3 x 195"
    return Row("decode", b / a - 1, DECODE_SHARE, "", detail)


def _health(pace: float) -> Row:
    """A front of its own: its engine is another process."""
    from front_process import FrontProcess  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        front = FrontProcess(Path(folder))
        try:
            times, how = bench_health.measure(front, pace / 1e3)
        finally:
            front.close()
    count = len(times)
    median, worst = times[count // 2], times[-1]
    detail = f"p99 of {count}; median {median:.2f} ms, worst {worst:.2f} ms; a token every {pace:g} ms, {how}"
    return Row("/health", times[count * 99 // 100], HEALTH_MS, "ms", detail)


def _listen() -> Row:
    """The launcher's own start, with a folder in which it finds no model: the port answers before it looks."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="lev") as folder:
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TOOLS), "LEVIATHAN_STATE": folder}
        flags = ("--model_path", folder, "--host", "127.0.0.1", "--port", str(port))
        argv = [sys.executable, "-m", "leviathan_engine", *flags]
        begun = time.perf_counter()
        process = subprocess.Popen(argv, env=env, stderr=subprocess.DEVNULL)
        seconds = float("inf")
        while process.poll() is None and time.perf_counter() - begun < 60:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                seconds = time.perf_counter() - begun
                break
            except OSError:
                time.sleep(0.005)
        process.terminate()
        process.wait(30)
    return Row("the port listens", seconds, LISTEN_S, "s", "from exec to the first connection")


def main() -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--only-health", action="store_true", help="measure /health alone")
    parser.add_argument("--json", action="store_true", help="the rows as JSON, for the bench")
    parser.add_argument("--pace", type=float, default=20.0, help="milliseconds a token of the engine for the parts")
    args = parser.parse_args()
    sys.path.append(str(TOOLS))
    load = f"load {os.getloadavg()[0]:.2f} on {os.cpu_count()} CPUs"
    rows = [_health(HEALTH_PACE)] if args.only_health else parts(args.pace, args.rounds)
    if args.json:
        sys.stdout.write(json.dumps([asdict(row) for row in rows]) + "\n")
    else:
        sys.stdout.write(f"{load} before, {os.getloadavg()[0]:.2f} after\n\n")
        sys.stdout.write("| what | measured | limit | | how |\n|---|---|---|---|---|\n")
        sys.stdout.write("\n".join(row.line() for row in rows) + "\n")
    return 0 if all(row.value <= row.limit for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
