"""A chat of ten turns against a started server, ours or llama.cpp's: how long until each answer begins.

`chat_side_by_side.py ask URL OUT.json`, once for each server on the same file of model.py, then `table OURS THEIRS`.

Every turn sends the whole talk again, as clients do, so what a server has kept decides. Answers are greedy and confined
to letters that are one token each, so that both sides count the same tokens. Some turns are sent again in a talk that
begins otherwise, so nothing of it is known: that is re-reading. Exit code 1 when the token counts of two sides differ.
"""

import argparse
import json
import os
import random
import statistics
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

# Without h and e, which the vocabulary merges. model.py: four special tokens, then the printable bytes by their value.
LETTERS = [chr(code) for code in range(ord("a"), ord("z") + 1) if chr(code) not in "he"]
BIAS = {str(4 + ord(letter) - 33): 100 for letter in LETTERS}
REREAD = (2, 6, 10)
# What the launcher serves a model as; llama.cpp's server does not ask.
MODEL = os.environ.get("MODEL", "deepseek-v3")
Messages = list[dict[str, str]]


def words(seed: str, tokens: int) -> str:
    """So many letters, a token each; another seed gives other ones from the first on."""
    return "".join(random.Random(seed).choices(LETTERS, k=tokens))


def ask(url: str, messages: Messages, tokens: int) -> dict[str, Any]:
    """One streamed answer: seconds to its first piece, its text, and the tokens of the prompt."""
    body: dict[str, Any] = {
        "model": MODEL,
        "messages": messages,
        "temperature": 0,
        "max_tokens": tokens,
        "logit_bias": BIAS,
    }
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    head = {"content-type": "application/json"}
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), head)
    text, first, usage = "", 0.0, {}
    begun = time.monotonic()
    with urllib.request.urlopen(request, timeout=600) as answer:
        for line in answer:
            data = line.decode().removeprefix("data:").strip()
            if not data.startswith("{"):
                continue
            event = json.loads(data)
            usage = event.get("usage") or usage
            for choice in event.get("choices", ()):
                text += choice["delta"].get("content") or ""
                if text and not first:
                    first = time.monotonic() - begun
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    return {"first_s": first, "text": text, "prompt": usage["prompt_tokens"], "cached": cached}


def talk(url: str, args: argparse.Namespace, more: int, name: str, *, reread: bool) -> list[dict[str, Any]]:
    """Ten turns whose questions after the first have `more` tokens; a row for each."""
    rows: list[dict[str, Any]] = []
    messages: Messages = []
    for turn in range(1, args.turns + 1):
        question = words(f"{name} {turn}", args.first if turn == 1 else more)
        messages.append({"role": "user", "content": question})
        row = ask(url, messages, args.answer)
        messages.append({"role": "assistant", "content": row.pop("text")})
        if reread and turn in REREAD:
            other = [*messages[:-1]]
            other[0] = other[0] | {"content": words(f"{name} other {turn}", args.first)}
            row["reread_s"] = ask(url, other, 1)["first_s"]
        rows.append({"more": more, "turn": turn} | row)
        sys.stderr.write(f"{url} {rows[-1]}\n")
    return rows


def measure(args: argparse.Namespace) -> int:
    """A talk to warm up, then `rounds` talks for each length of a question."""
    rows = []
    for more in args.more:
        talk(args.url, argparse.Namespace(**vars(args) | {"turns": 3}), more, f"warm {more}", reread=False)
        for number in range(args.rounds):
            rows += talk(args.url, args, more, f"{more} {number}", reread=number == 0)
    args.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def median(rows: list[dict[str, Any]], key: str) -> float:
    """Of the rows that have it."""
    return statistics.median(row[key] for row in rows if key in row)


def table(ours: Path, theirs: Path) -> int:
    """Markdown: seconds to the first token from turn 2 on, for each length of a question."""
    a, b = (json.loads(path.read_text(encoding="utf-8")) for path in (ours, theirs))
    lines = [
        "| tokens of a question | ours, median; worst | llama.cpp, median; worst | ratio | ours, re-reading | ratio |"
    ]
    lines.append("|---|---|---|---|---|---|")
    for more in dict.fromkeys(row["more"] for row in a):
        mine, other = ([row for row in rows if row["more"] == more and row["turn"] > 1] for rows in (a, b))
        here, there, again = median(mine, "first_s"), median(other, "first_s"), median(mine, "reread_s")
        worst = [max(row["first_s"] for row in rows) for rows in (mine, other)]
        cells = [f"{here:.3f}; {worst[0]:.3f}", f"{there:.3f}; {worst[1]:.3f}", f"{there / here:.1f}"]
        lines.append(f"| {more} | {' | '.join([*cells, f'{again:.3f}', f'{again / here:.1f}'])} |")
    sys.stdout.write("\n".join(lines) + "\n")
    counts = [[(row["more"], row["turn"], row["prompt"]) for row in rows] for rows in (a, b)]
    if counts[0] != counts[1]:
        sys.stderr.write(
            f"chat_side_by_side.py: the two sides count other tokens: {counts[0][:3]} and {counts[1][:3]}\n"
        )
        return 1
    return 0


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = parser.add_subparsers(dest="what", required=True)
    one = sub.add_parser("ask")
    one.add_argument("url")
    one.add_argument("out", type=Path)
    for name, value in (("turns", 10), ("first", 2000), ("answer", 48), ("rounds", 2)):
        one.add_argument(f"--{name}", type=int, default=value)
    one.add_argument("--more", type=int, nargs="+", default=[24, 256], help="tokens of a question")
    two = sub.add_parser("table")
    two.add_argument("ours", type=Path)
    two.add_argument("theirs", type=Path)
    args = parser.parse_args()
    return measure(args) if args.what == "ask" else table(args.ours, args.theirs)


if __name__ == "__main__":
    sys.exit(main())
