"""A client that leaves while its prompt is read: `cancel.py URL [--words N]` against a started engine.

Three times a short greedy question: alone, behind a long prompt that is read to its end, and behind a long prompt whose
client has left after a second. Prints the times as one JSON object. Exit code 1 when the three answers differ, or the
one who left was waited for as long as the one who stayed.
"""

import argparse
import http.client
import json
import sys
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from client import wait

LEAVES_AFTER = 1.0  # seconds


def begin(place: str, prompt: str, tokens: int) -> http.client.HTTPConnection:
    """A connection on which a greedy completion has been asked for."""
    connection = http.client.HTTPConnection(place, timeout=300)
    body = {"model": "deepseek-v3", "prompt": prompt, "max_tokens": tokens, "temperature": 0}
    connection.request("POST", "/v1/completions", json.dumps(body), {"content-type": "application/json"})
    return connection


def answer(connection: http.client.HTTPConnection) -> dict[str, Any]:
    """The whole answer."""
    done: dict[str, Any] = json.load(connection.getresponse())
    connection.close()
    return done


def behind(place: str, prompt: str, *, leave: bool) -> tuple[float, str, int]:
    """Seconds until a short answer, asked for a second after a long prompt, its text, and the long prompt's tokens.

    With `leave` the long prompt's client leaves just before the short question is asked.
    """
    first = begin(place, prompt, 1)
    read: list[int] = []
    reader = threading.Thread(target=lambda: read.append(answer(first)["usage"]["prompt_tokens"]))
    if not leave:
        reader.start()
    time.sleep(LEAVES_AFTER)
    begun = time.monotonic()
    if leave:
        first.close()
    text = answer(begin(place, "hello, 12345", 24))["choices"][0]["text"]
    took = time.monotonic() - begun
    if not leave:
        reader.join()
    return took, text, read[0] if read else 0


def main() -> int:
    """Prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--words", type=int, default=1000)
    args = parser.parse_args()
    wait(args.url, 300)
    place = urlsplit(args.url).netloc
    begun = time.monotonic()
    alone = answer(begin(place, "hello, 12345", 24))["choices"][0]["text"]
    out: dict[str, Any] = {"alone_s": time.monotonic() - begun}
    stayed, text_stayed, out["prompt_tokens"] = behind(place, "stay " * args.words, leave=False)
    left, text_left, _ = behind(place, "left " * args.words, leave=True)
    out |= {"behind_one_who_stayed_s": stayed, "behind_one_who_left_s": left}
    out["same"] = alone == text_stayed == text_left
    sys.stdout.write(json.dumps(out) + "\n")
    return 0 if out["same"] and left < stayed / 2 else 1


if __name__ == "__main__":
    sys.exit(main())
