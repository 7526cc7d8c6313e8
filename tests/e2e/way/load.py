"""64 clients that stream through the NodePort: no answer lost, none mixed up, and the engine's memory flat."""

import json
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .happy import PORT, need
from .report import Report

CLIENTS = 64
SECONDS = 120.0  # in which clients begin another request; the last answers come after it
TOKENS = 12  # with fewer, some of the answers are equal
GROWTH = 1.05  # of memory: the most in the last third of the load over the most in the middle third
WORKER = b"leviathan_engine."


@dataclass(frozen=True)
class Answer:
    """A streamed answer: its text, and whether the stream was closed as it should be."""

    text: str
    whole: bool


def stream(prompt: str) -> Answer:
    """One streamed completion at temperature 0. Errors: OSError when the connection breaks."""
    body = {"model": "deepseek-v3", "prompt": prompt, "max_tokens": TOKENS, "temperature": 0, "stream": True}
    address = f"http://127.0.0.1:{PORT}/v1/completions"
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    text, finished, done = "", False, False
    with urllib.request.urlopen(request, timeout=300) as answer:
        for line in answer:
            data = line.decode().strip().removeprefix("data: ")
            if data == "[DONE]":
                done = True
            elif data.startswith("{"):
                choice = json.loads(data)["choices"][0]
                text += choice.get("text") or ""
                finished = finished or bool(choice.get("finish_reason"))
    return Answer(text, finished and done)


def memory() -> int:
    """Bytes of anonymous memory that the engine's processes have (proc(5), RssAnon)."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if WORKER in (folder / "cmdline").read_bytes():
                lines = (folder / "status").read_text(encoding="ascii", errors="replace").splitlines()
                total += next((int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:")), 0)
        except OSError:  # it has ended meanwhile
            continue
    return total


def load(report: Report) -> None:
    """Each client has a prompt of its own, asked alone first. Errors: WayError and others, noted in the report."""
    if not report.wants("load"):
        return
    with report.check(f"load: {CLIENTS} clients stream, no answer lost or mixed, memory flat") as seen:
        prompts = [f"client {number} counts {number * 7919 % 1000}" for number in range(CLIENTS)]
        begun = time.monotonic()
        alone = [stream(prompt) for prompt in prompts]
        seen["alone"] = f"{CLIENTS} answers, {len({one.text for one in alone})} of them different"
        seen["seconds alone"] = round(time.monotonic() - begun, 1)
        need(all(one.whole for one in alone), "an answer without an end, with one client")
        need(len({one.text for one in alone}) == CLIENTS, "two answers are equal: a mix-up of them would not be seen")
        until = time.monotonic() + SECONDS
        barrier = threading.Barrier(CLIENTS)
        marks: list[int] = []

        def client(number: int) -> tuple[int, int, int]:
            """Answers, those that are not the one given alone, and those without an end."""
            count = other = torn = 0
            barrier.wait()
            while not count or time.monotonic() < until:
                answer = stream(prompts[number])
                count, other, torn = count + 1, other + (answer.text != alone[number].text), torn + (not answer.whole)
                if number == 0:
                    marks.append(memory())
            return count, other, torn

        with ThreadPoolExecutor(CLIENTS) as pool:
            counts = list(pool.map(client, range(CLIENTS)))
        third = len(marks) // 3
        need(third, "too few answers to judge memory by")
        first, middle, last = (max(part) for part in (marks[:third], marks[third:-third], marks[-third:]))
        seen["seconds under load"] = round(time.monotonic() - until + SECONDS, 1)
        seen["answers"], seen["different"], seen["torn"] = (sum(column) for column in zip(*counts, strict=True))
        seen["fewest answers of a client"] = min(count for count, _, _ in counts)
        seen["memory, MB: most in each third"] = [round(value / 1e6) for value in (first, middle, last)]
        need(seen["different"] == 0, "answers differ from those given alone")
        need(seen["torn"] == 0, "answers without an end")
        need(middle > 0, "the engine's processes were not found")
        need(last <= middle * GROWTH, "the engine's memory grows")
