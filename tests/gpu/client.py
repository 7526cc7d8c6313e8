"""Talks to a started engine from outside: `client.py URL [--tokens N]`.

Waits for /health, noting every phase it saw, asks the same greedy question twice without and once with streaming, and
prints the times as one JSON object. Exit code 1 when the answers differ or something is not as OpenAI has it.
"""

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from typing import Any


def health(url: str) -> tuple[int, dict[str, Any]]:
    """Status and body; 0 while nothing listens."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as err:
        return err.code, json.load(err)
    except OSError:
        return 0, {}


def wait(url: str, seconds: float) -> dict[str, Any]:
    """When the port listened, when the model answered, and the phases in between."""
    begun, listened = time.monotonic(), None
    phases: list[str] = []
    while time.monotonic() - begun < seconds:
        status, body = health(url)
        if status and listened is None:
            listened = time.monotonic() - begun
        phase = str(body.get("phase", body.get("status", "")))
        if phase and phase not in phases:
            phases.append(phase)
        if status == 200:
            return {"listens_s": listened, "ready_s": time.monotonic() - begun, "phases": phases}
        time.sleep(0.02)
    raise SystemExit(f"{url}: not healthy within {seconds:g} s; phases: {phases}")


def ask(url: str, tokens: int, *, stream: bool) -> dict[str, Any]:
    """One chat completion; for a stream the time to the first piece and the rate after it."""
    body = {"model": "deepseek-v3", "messages": [{"role": "user", "content": "hello, 12345"}], "temperature": 0}
    body |= (
        {"max_tokens": tokens, "stream": stream, "stream_options": {"include_usage": True}}
        if stream
        else {"max_tokens": tokens}
    )
    head = {"content-type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), head)
    begun = time.monotonic()
    with urllib.request.urlopen(request, timeout=300) as answer:
        if not stream:
            done = json.load(answer)
            choice = done["choices"][0]
            return {"text": choice["message"]["content"], "finish": choice["finish_reason"], "usage": done["usage"]}
        text, usage, first = "", None, 0.0
        for line in answer:
            data = line.decode().removeprefix("data:").strip()
            if not data or data == "[DONE]":
                continue
            event = json.loads(data)
            usage = event.get("usage") or usage
            for choice in event["choices"]:
                text += choice["delta"].get("content") or ""
                first = first or time.monotonic() - begun
    whole = time.monotonic() - begun
    count = usage["completion_tokens"] if usage else 0
    return {"text": text, "usage": usage, "first_s": first, "tokens_s": (count - 1) / (whole - first) if count else 0.0}


def main() -> int:
    """Prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=200)
    args = parser.parse_args()
    out: dict[str, Any] = wait(args.url, args.seconds)
    first, second = (ask(args.url, args.tokens, stream=False) for _ in range(2))
    streamed = ask(args.url, args.tokens, stream=True)
    same = first["text"] == second["text"] == streamed["text"]
    out |= {"same": same, "usage": first["usage"], "finish": first["finish"]}
    out |= {key: streamed[key] for key in ("first_s", "tokens_s")}
    with urllib.request.urlopen(f"{args.url}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    out["metrics"] = [line for line in lines if "vram" in line.lower() and not line.startswith("#")]
    sys.stdout.write(json.dumps(out) + "\n")
    return 0 if same and first["usage"]["completion_tokens"] else 1


if __name__ == "__main__":
    sys.exit(main())
