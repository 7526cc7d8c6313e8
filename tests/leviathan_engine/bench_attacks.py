"""/health and an honest client while others attack the front: `python3 tests/leviathan_engine/bench_attacks.py`.

Three attacks of the review: more connections than there are files (nofile), half heads and silent connections that are
opened again whenever they are closed (hold_idle), and one client with 65 names that fills the queue (lockout). An
honest client comes from another address. Prints a table with the limits; exit code 1 when one is exceeded.
"""

import contextlib
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bad_clients import chat, connect, request
from bench_health import sample

# Milliseconds of /health in the 99th percentile; how many times its usual time an honest client may take.
HEALTH_MS, TIMES = 50.0, 2.0
HALF = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: "
CHAT = "/v1/chat/completions"
ATTACKER, HONEST = "127.0.0.1", "127.0.0.9"


@dataclass(frozen=True)
class Felt:
    """Milliseconds: /health in the 99th percentile, an honest client's request in the middle before and during."""

    attack: str
    size: int
    health: float
    usual: float
    during: float

    @property
    def good(self) -> bool:
        """Whether both limits hold."""
        return self.health <= HEALTH_MS and self.during <= TIMES * self.usual

    def line(self) -> str:
        """A row of the Markdown table."""
        verdict = "ok" if self.good else "EXCEEDED"
        return (
            f"| {self.attack}, {self.size} | {self.health:.1f} ms | {self.usual:.1f} ms | {self.during:.1f} ms "
            f"| {verdict} |"
        )


@contextlib.contextmanager
def nofile(front: Any, size: int) -> Iterator[None]:
    """So many connections that send nothing."""
    held = [connect(front.url, ATTACKER) for _ in range(size)]
    yield
    for client in held:
        client.close()


@contextlib.contextmanager
def hold_idle(front: Any, size: int) -> Iterator[None]:
    """Half of them silent, half with half a head; a tenth of them is opened again each second."""
    ended = threading.Event()
    held = [connect(front.url, ATTACKER) for _ in range(size)]

    def hold() -> None:
        number = 0
        while not ended.wait(10 / size):
            held[number % size].close()
            with contextlib.suppress(OSError):
                held[number % size] = connect(front.url, ATTACKER)
                if number % 2:
                    held[number % size].sendall(HALF)
            number += 1

    for client in held[::2]:
        with contextlib.suppress(OSError):
            client.sendall(HALF)
    thread = threading.Thread(target=hold)
    thread.start()
    yield
    ended.set()
    thread.join()
    for client in held:
        client.close()


@contextlib.contextmanager
def lockout(front: Any, size: int) -> Iterator[None]:
    """Requests with `size` user names from one address, more than may wait; their answers take the usual time."""
    ended = threading.Event()

    def ask(name: str) -> None:
        body = request(CHAT, chat(20, stream=False, user=name), Content_Type="application/json", Connection="close")
        while not ended.is_set():
            with contextlib.suppress(OSError), connect(front.url, ATTACKER) as client:
                client.sendall(body)
                if b" 429 " in client.recv(65536)[:20]:
                    ended.wait(0.5)

    threads = [threading.Thread(target=ask, args=(f"u{number}",)) for number in range(size)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    yield
    ended.set()
    for thread in threads:
        thread.join()


ATTACKS: dict[str, tuple[Any, int]] = {
    "nofile": (nofile, 3000),
    "hold_idle": (hold_idle, 1500),
    "lockout": (lockout, 65),
}


def honest(front: Any) -> float:
    """Milliseconds of an honest client's request on a connection of its own."""
    begin = time.perf_counter()
    answer = front.post(CHAT, chat(20, stream=False), HONEST)
    assert answer.status_code == 200, answer.text
    return (time.perf_counter() - begin) * 1e3


def felt(front: Any, attack: str, size: int, count: int) -> Felt:
    """What an attack does to `count` probes and a tenth as many honest requests."""
    usual = sorted(honest(front) for _ in range(max(5, count // 10)))
    with ATTACKS[attack][0](front, size):
        health = sorted(sample(front.url, 1)[0] for _ in range(count))
        during = sorted(honest(front) for _ in range(max(5, count // 10)))
    return Felt(attack, size, health[int(0.99 * (count - 1))], usual[len(usual) // 2], during[len(during) // 2])


def main() -> int:
    """Prints the table at full size."""
    sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))
    from front_process import FrontProcess  # noqa: PLC0415

    rows = []
    for attack, (_, size) in ATTACKS.items():
        with tempfile.TemporaryDirectory() as folder:
            front = FrontProcess(Path(folder), files=1024 if attack == "nofile" else None)
            try:
                front.serve()
                front.letters.delay = 0.005
                rows.append(felt(front, attack, size, 500))
            finally:
                front.close()
    sys.stdout.write("| attack, clients | /health p99 | an honest request before | during | |\n|---|---|---|---|---|\n")
    sys.stdout.write("\n".join(row.line() for row in rows) + "\n")
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
