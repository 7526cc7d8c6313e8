"""Our front's cost against KTransformers' own server: `front_cost.py FRONT BARE BARE_ONE [--tokens N --rounds N]`.

FRONT is the launcher's URL, BARE one of `ktransformers.server.main` started with --max_new_tokens N, BARE_ONE another
with --max_new_tokens 1; all three serve the same weights, greedily. ApiRequest in turns, the order swapped each round:
requests of one token, then streams of N tokens, whose decode time is the whole stream's less that of one token. Then
`/health` of FRONT while 64 streams are open in eight other processes. One JSON object on stdout.
"""

import argparse
import http.client
import json
import multiprocessing
import os
import statistics
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

sys.path.append(str(Path(__file__).resolve().parents[1] / "leviathan_engine"))
from bench_health import sample

HEAD = {"content-type": "application/json"}
PROCESSES, STREAMS_EACH, SAMPLES = 8, 8, 2500


def post(url: str, text: str, tokens: int, *, stream: bool) -> str:
    """The body of a greedy chat's answer. Errors: SystemExit unless its status is 200."""
    body = {"model": "deepseek-v3", "messages": [{"role": "user", "content": text}], "temperature": 0}
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=300)
    sent = json.dumps(body | {"max_tokens": tokens, "stream": stream})
    connection.request("POST", "/v1/chat/completions", sent, HEAD)
    answer = connection.getresponse()
    if answer.status != 200:
        raise SystemExit(f"{url}: {answer.status} {answer.read(300)!r}")
    raw = answer.read().decode()
    connection.close()
    return raw


def ask(url: str, text: str, tokens: int, *, stream: bool) -> tuple[float, str]:
    """Seconds from before the connection until the last byte is there, and the answer's text."""
    begun = time.perf_counter()
    raw = post(url, text, tokens, stream=stream)
    seconds = time.perf_counter() - begun
    if not stream:
        return seconds, str(json.loads(raw)["choices"][0].get("message", {}).get("content", ""))
    events = [json.loads(line[5:]) for line in raw.splitlines() if line.startswith("data:") and "{" in line]
    return seconds, "".join(c["delta"].get("content") or "" for e in events for c in e["choices"])


def long_prompt(url: str, tokens: int) -> str:
    """A prompt whose greedy answer does not end before so many tokens."""
    for number in range(40):
        answer = json.loads(post(url, f"hello {number}", tokens, stream=False))
        if answer["choices"][0]["finish_reason"] == "length":
            return f"hello {number}"
    raise SystemExit(f"no prompt gives {tokens} tokens")


def turns(front: str, bare: str, text: str, tokens: int, rounds: int) -> tuple[list[float], list[float], int]:
    """Seconds of the front and of the bare server, round by round, and in how many rounds the texts were equal."""
    seen: dict[str, list[float]] = {front: [], bare: []}
    equal = 0
    for number in range(rounds + 2):
        texts = set()
        for url in (front, bare) if number % 2 else (bare, front):
            seconds, got = ask(url, text, tokens, stream=tokens > 1)
            texts.add(got)
            if number >= 2:  # the first rounds capture the CUDA graph
                seen[url].append(seconds)
        equal += number >= 2 and len(texts) == 1
    return seen[front], seen[bare], equal


def _streams(url: str, text: str, stop: float) -> None:
    def one() -> None:
        while time.monotonic() < stop:
            try:
                ask(url, text, 300, stream=True)
            except (OSError, SystemExit, http.client.HTTPException):
                return

    threads = [threading.Thread(target=one, daemon=True) for _ in range(STREAMS_EACH)]
    for thread in threads:
        thread.start()
    time.sleep(max(0.0, stop - time.monotonic()))
    os._exit(0)


def health(url: str, text: str) -> dict[str, float]:
    """Milliseconds of /health while the streams are open."""
    stop = time.monotonic() + 90
    children = [multiprocessing.Process(target=_streams, args=(url, text, stop)) for _ in range(PROCESSES)]
    for child in children:
        child.start()
    time.sleep(3)
    out = sorted(sample(url, SAMPLES))
    for child in children:
        child.terminate()
    return {"samples": SAMPLES, "median": out[SAMPLES // 2], "p99": out[SAMPLES * 99 // 100], "worst": out[-1]}


def main() -> int:
    """Prints what was measured; exit code 1 above a limit of issue 3."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("front", "bare", "bare_one"):
        parser.add_argument(name)
    parser.add_argument("--tokens", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=12)
    args = parser.parse_args()
    text = long_prompt(args.front, args.tokens)
    ones = turns(args.front, args.bare_one, text, 1, 60)
    one = [statistics.median(seconds) for seconds in ones[:2]]
    longs = turns(args.front, args.bare, text, args.tokens, args.rounds)
    rates = [[(args.tokens - 1) / (s - base) for s in times] for times, base in zip(longs[:2], one, strict=True)]
    loss = [1 - mine / theirs for mine, theirs in zip(*rates, strict=True)]
    out = {
        "prompt": text,
        "request_ms": {"front": one[0] * 1e3, "bare": one[1] * 1e3, "more": (one[0] - one[1]) * 1e3},
        "tokens_s": {n: [statistics.median(r), min(r), max(r)] for n, r in zip(("front", "bare"), rates, strict=True)},
        "loss": [statistics.median(loss), min(loss), max(loss)],
        "equal_texts": [longs[2], args.rounds],
        "health_ms": health(args.front, text),
    }
    sys.stdout.write(json.dumps(out) + "\n")
    good = (one[0] - one[1]) <= 2e-3 and statistics.median(loss) <= 0.02 and out["health_ms"]["p99"] <= 10  # type: ignore[index]
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
